//! How many Pods the canary and the stable side get: the weight approximated by a ratio of replicas.
//!
//! Behaviour of Argo Rollouts without traffic routing (`utils/replicaset/canary.go`): at most one Pod beyond
//! `spec.replicas` is used to come nearer to the weight, however large the surge is; the surge only bounds how many
//! exist while counts change.

/// The bounds of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// `spec.replicas`.
    pub(crate) replicas: i64,
    /// Pods there may be beyond `replicas`.
    pub(crate) surge: i64,
    /// Pods that may be unavailable.
    pub(crate) unavailable: i64,
}

/// Pods of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) canary: i64,
    pub(crate) stable: i64,
}

/// A side as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    /// What its ReplicaSet is asked for.
    pub(crate) spec: i64,
    /// How many of its Pods serve.
    pub(crate) available: i64,
}

/// The counts that come nearest to `weight` percent of Pods being the canary's.
pub(crate) fn desired(bounds: Bounds, weight: i64) -> Counts {
    let n = bounds.replicas;
    if n == 0 {
        return Counts { canary: 0, stable: 0 };
    }
    let (floor, ceil) = (n * weight / 100, (n * weight + 99) / 100);
    let half = |total: i64| (total * weight) % 100 == 50;
    // One side may be left without a Pod only where the weight says so, or where there is no room for two.
    let empty_allowed = weight == 0 || weight == 100 || (n == 1 && bounds.surge == 0);
    let surging = bounds.surge > 0;
    let down = |total: i64| !half(total) && (floor != 0 || empty_allowed);
    let candidates = [
        (ceil < n || empty_allowed, ceil, n),
        (down(n), floor, n),
        (surging, ceil, n + 1),
        (surging && down(n + 1), floor, n + 1),
    ];
    // |canary/total − weight/100| compared without division; of equals the first one wins.
    let mut best: Option<(i64, i64)> = None;
    let distance = |(canary, total): (i64, i64)| (canary * 100 - weight * total).abs();
    for (_, canary, total) in candidates.into_iter().filter(|(allowed, ..)| *allowed) {
        let nearer = |best: (i64, i64)| distance((canary, total)) * best.1 < distance(best) * total;
        if best.is_none_or(nearer) {
            best = Some((canary, total));
        }
    }
    let (canary, total) = best.unwrap_or((ceil, n));
    Counts { canary, stable: total - canary }
}

/// The next counts on the way to `desired`, within the bounds. `older` is the sum of what all other ReplicaSets are
/// asked for: while there are any, nothing else shrinks, since they shrink first.
pub(crate) fn step(bounds: Bounds, desired: Counts, canary: Side, stable: Side, older: i64) -> Counts {
    let mut next = Counts { canary: canary.spec, stable: stable.spec };
    let mut room = (bounds.replicas + bounds.surge - canary.spec - stable.spec - older).max(0);
    if stable.spec < desired.stable {
        let grow = room.min(desired.stable - stable.spec);
        next.stable += grow;
        room -= grow;
    }
    if canary.spec < desired.canary {
        next.canary += room.min(desired.canary - canary.spec);
    }
    if older > 0 {
        return next;
    }
    let increasing = desired.canary >= canary.spec;
    let (growing, shrinking) = if increasing { (canary, stable) } else { (stable, canary) };
    let spare = growing.spec.min(growing.available) + shrinking.spec - (bounds.replicas - bounds.unavailable);
    if spare > 0 {
        if increasing {
            next.stable -= spare.min((stable.spec - desired.stable).max(0));
        } else {
            next.canary -= spare.min(canary.spec - desired.canary);
        }
    }
    next
}

#[cfg(test)]
mod tests;
