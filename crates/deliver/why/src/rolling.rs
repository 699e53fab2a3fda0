//! An Application that waits for its turn in the rolling sync of its ApplicationSet.

use objects::{Value, meta};

use crate::facts::Found;
use crate::reading::{array, text};
use crate::tree::Node;
use crate::{Path, Target};

/// So many Applications that hold a step up are explained.
const SHOWN: usize = 10;

/// Why an Application that differs is not synced yet; `None` if no rolling set decides that.
pub(crate) fn waits(path: &Path<'_>, application: &Value, node: &Node) -> Option<Node> {
    let owner = meta::controller_of(application).filter(|owner| owner.kind == "ApplicationSet")?;
    let namespace = meta::namespace(application).unwrap_or_default();
    let target = Target::new("argoproj.io", "ApplicationSet", namespace, &owner.name);
    let Found::There(set) = path.facts.object(&target) else { return None };
    if text(set, "/spec/strategy/type") != "RollingSync" {
        return None;
    }
    let statuses = array(set, "/status/applicationStatus");
    let own = statuses.iter().find(|status| text(status, "/application") == meta::name(application));
    let (step, status) = own.map_or(("", ""), |own| (text(own, "/step"), text(own, "/status")));
    let set_name = format!("ApplicationSet {namespace}/{}", owner.name);
    let mut node = node.clone();
    Some(match (step, status) {
        ("-1", _) => node
            .blocked(format!("no step of the rolling sync of {set_name} selects it"))
            .with_hint("a step's matchExpressions look at the labels of the Application"),
        (step, "Waiting") => {
            let rollout = array(set, "/status/conditions").iter();
            let rollout = rollout.filter(|condition| text(condition, "/type") == "RolloutProgressing");
            for condition in rollout {
                node.say(text(condition, "/message").to_owned());
            }
            let number = |step: &str| step.parse::<usize>().unwrap_or(usize::MAX);
            let before = |other: &&Value| {
                let other_step = text(other, "/step");
                text(other, "/status") != "Healthy" && other_step != "-1" && number(other_step) < number(step)
            };
            for other in statuses.iter().filter(before).take(SHOWN) {
                let other = Target::new("argoproj.io", "Application", namespace, text(other, "/application"));
                node.children.push(crate::object(path, &other));
            }
            node.waiting(format!("waits for step {step} of the rolling sync of {set_name}"))
        }
        (_, status) => node.waiting(format!("{status} in the rolling sync of {set_name}")),
    })
}
