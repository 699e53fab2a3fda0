//! How a rolling update and a change of size move the counts of ReplicaSets: upstream's arithmetic.

use objects::meta;
use serde_json::Value;

use super::sets::{
    MAX_REPLICAS, annotated, by_age, fenceposts, is_rolling, max_surge, replicas, status_count, total,
    total_status,
};

/// The size a new set starts with or grows to.
pub(super) fn new_set_replicas(deployment: &Value, new: Option<&Value>, all: &[&Value]) -> i64 {
    let wanted = replicas(deployment);
    if !is_rolling(deployment) {
        return wanted;
    }
    let current = new.map_or(0, replicas);
    let room = wanted + fenceposts(deployment).0 - total(all.iter().copied());
    if room <= 0 { current } else { current + room.min(wanted - current) }
}

/// What the new set should be scaled to now, if anything.
pub(super) fn scale_new(deployment: &Value, new: &Value, old: &[Value]) -> Option<i64> {
    let wanted = replicas(deployment);
    if replicas(new) == wanted {
        return None;
    }
    if replicas(new) > wanted {
        return Some(wanted);
    }
    let all: Vec<&Value> = old.iter().chain([new]).collect();
    let size = new_set_replicas(deployment, Some(new), &all);
    (size != replicas(new)).then_some(size)
}

/// How old sets should shrink now: (index, new size). Unhealthy pods go first, then as many healthy ones as availability allows.
pub(super) fn scale_old(deployment: &Value, new: &Value, old: &[Value]) -> Vec<(usize, i64)> {
    let sizes: Vec<i64> = old.iter().map(replicas).collect();
    if sizes.iter().sum::<i64>() == 0 {
        return Vec::new();
    }
    let minimum = replicas(deployment) - fenceposts(deployment).1;
    let new_unavailable = replicas(new) - status_count(new, "availableReplicas");
    let budget = sizes.iter().sum::<i64>() + replicas(new) - minimum - new_unavailable;
    if budget <= 0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..old.len()).collect();
    order.sort_by_key(|&i| (meta::created_at(&old[i]), meta::name(&old[i]).to_owned()));
    let mut planned = sizes.clone();
    remove_unhealthy(old, &order, &mut planned, budget);
    let available = total_status(old, "availableReplicas") + status_count(new, "availableReplicas");
    remove_available(&order, &mut planned, available - minimum);
    let changed = (0..old.len()).filter(|&i| planned[i] != sizes[i]);
    changed.map(|i| (i, planned[i])).collect()
}

fn remove_unhealthy(old: &[Value], order: &[usize], planned: &mut [i64], budget: i64) {
    let mut removed = 0;
    for &i in order {
        if removed >= budget {
            return;
        }
        let unhealthy = (planned[i] - status_count(&old[i], "availableReplicas")).max(0);
        let take = unhealthy.min(budget - removed);
        planned[i] -= take;
        removed += take;
    }
}

fn remove_available(order: &[usize], planned: &mut [i64], surplus: i64) {
    let mut removed = 0;
    for &i in order {
        if removed >= surplus {
            return;
        }
        let take = planned[i].min(surplus - removed);
        planned[i] -= take;
        removed += take;
    }
}

/// A complete new set: as large as wanted (also by its annotation) and available.
pub(super) fn is_saturated(deployment: &Value, new: Option<&Value>) -> bool {
    let wanted = replicas(deployment);
    new.is_some_and(|new| {
        replicas(new) == wanted
            && annotated(new, super::sets::DESIRED_REPLICAS) == Some(wanted)
            && status_count(new, "availableReplicas") == wanted
    })
}

/// How a change of `spec.replicas` during an update (or a pause) is spread over all active sets: (name, size).
///
/// Proportional to their sizes, the remainder to the largest; growing serves newer sets first, shrinking older ones.
pub(super) fn proportional(deployment: &Value, active: &[Value]) -> Vec<(String, i64)> {
    let mut sets = active.to_vec();
    by_age(&mut sets);
    let wanted = replicas(deployment);
    let allowed = if wanted > 0 { wanted + max_surge(deployment) } else { 0 };
    let to_add = allowed - total(&sets);
    if to_add > 0 {
        sets.reverse();
    }
    // Stable: equal sizes keep the order by age.
    sets.sort_by_key(|set| std::cmp::Reverse(replicas(set)));
    let mut added = 0;
    let mut sizes: Vec<i64> = Vec::with_capacity(sets.len());
    for set in &sets {
        let share = share(deployment, set, to_add, added);
        added += share;
        sizes.push(replicas(set) + share);
    }
    if to_add != 0
        && let Some(largest) = sizes.first_mut()
    {
        *largest = (*largest + to_add - added).max(0);
    }
    sets.iter().map(|set| meta::name(set).to_owned()).zip(sizes).collect()
}

fn share(deployment: &Value, set: &Value, to_add: i64, added: i64) -> i64 {
    let size = replicas(set);
    if size == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let wanted = replicas(deployment);
    let fraction = if wanted == 0 {
        -size
    } else {
        let before = annotated(set, MAX_REPLICAS)
            .filter(|max| *max != 0)
            .unwrap_or_else(|| status_count(deployment, "replicas"));
        if before == 0 {
            return 0;
        }
        round_divide(size * (wanted + max_surge(deployment)), before) - size
    };
    if to_add > 0 { fraction.min(to_add - added) } else { fraction.max(to_add - added) }
}

/// Division rounded half up, of non-negative numbers.
fn round_divide(dividend: i64, divisor: i64) -> i64 {
    (2 * dividend + divisor) / (2 * divisor)
}
