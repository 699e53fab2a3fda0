//! From the health of resources to the health of their application.

use objects::{Value, meta};

use super::{Health, HealthStatus};
use crate::annotations::IGNORE_HEALTHCHECK;
use crate::hooks::{Role, role};
use crate::key::ResourceKey;

/// What one resource adds to the health of its application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contribution {
    /// It does not even count as a resource: a hook, a skipped object.
    None,
    /// It counts as existing, nothing more.
    Exists,
    /// It is missing from the cluster.
    Missing,
    Health(Health),
}

/// What a resource contributes. `health` is that of the live object; `this` is the application itself.
#[must_use]
pub fn contribution(
    target: Option<&Value>,
    live: Option<&Value>,
    health: Option<&Health>,
    this: &ResourceKey,
) -> Contribution {
    if target.is_some_and(|target| role(target) != Role::Resource)
        || live.is_some_and(|live| role(live) != Role::Resource)
    {
        return Contribution::None;
    }
    let Some(live) = live else { return Contribution::Missing };
    if meta::annotation(live, IGNORE_HEALTHCHECK) == Some("true") {
        return Contribution::Exists;
    }
    let key = ResourceKey::of(live);
    if key == *this {
        return Contribution::Exists;
    }
    match health {
        None => Contribution::Exists,
        Some(health)
            if key.group == "argoproj.io"
                && key.kind == "Application"
                && matches!(health.status, HealthStatus::Missing | HealthStatus::Unknown) =>
        {
            Contribution::Exists
        }
        Some(health) => Contribution::Health(health.clone()),
    }
}

/// Resources that a message names.
const NAMED: usize = 3;

/// The worst health wins; a missing resource counts only if none is there at all.
#[must_use]
pub fn aggregate<'a>(resources: impl IntoIterator<Item = (&'a ResourceKey, &'a Contribution)>) -> Health {
    let mut worst = HealthStatus::Healthy;
    let mut causes: Vec<String> = Vec::new();
    let (mut existing, mut missing) = (0, 0);
    for (key, contribution) in resources {
        match contribution {
            Contribution::None => {}
            Contribution::Exists => existing += 1,
            Contribution::Missing => missing += 1,
            Contribution::Health(health) => {
                existing += 1;
                if health.status > worst {
                    worst = health.status;
                    causes.clear();
                }
                if health.status == worst && worst != HealthStatus::Healthy {
                    causes.push(named(key));
                }
            }
        }
    }
    if existing == 0 && missing > 0 {
        return Health::new(HealthStatus::Missing, "");
    }
    if causes.is_empty() {
        return Health::new(worst, "");
    }
    let more = causes.len().saturating_sub(NAMED);
    causes.truncate(NAMED);
    let mut message = format!("Caused by {}", causes.join(", "));
    if more > 0 {
        message.push_str(&format!(" and {more} more"));
    }
    Health::new(worst, message)
}

fn named(key: &ResourceKey) -> String {
    let kind = if key.group.is_empty() { key.kind.clone() } else { format!("{}/{}", key.group, key.kind) };
    format!("{kind}:{}/{}", key.namespace, key.name)
}
