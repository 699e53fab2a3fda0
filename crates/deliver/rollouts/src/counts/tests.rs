use super::*;
use proptest::prelude::*;

/// `maxSurge: 25%`, `maxUnavailable: 0`, as the charts in use set them.
fn bounds(replicas: i64) -> Bounds {
    Bounds { replicas, surge: (replicas * 25 + 99) / 100, unavailable: 0 }
}

/// The counts seen from `start` on until nothing changes, when Pods become available between passes. As in the
/// controller, the stable side is written first and ends the pass.
fn sequence(bounds: Bounds, weight: i64, start: Counts) -> Vec<(i64, i64)> {
    let target = desired(bounds, weight);
    let (mut now, mut seen) = (start, vec![]);
    for _ in 0..100 {
        let side = |spec| Side { spec, available: spec };
        let next = step(bounds, target, side(now.canary), side(now.stable), 0);
        now = if next.stable == now.stable { next } else { Counts { stable: next.stable, ..now } };
        if seen.last() == Some(&(now.canary, now.stable)) || (seen.is_empty() && now == start) {
            return seen;
        }
        seen.push((now.canary, now.stable));
    }
    panic!("no end: {seen:?}");
}

fn counts(canary: i64, stable: i64) -> Counts {
    Counts { canary, stable }
}

/// Upstream's worked table: for each size the targets at 20, 50 and 100 percent and the way there from 0/N.
#[test]
fn a_weight_is_reached_as_upstream_reaches_it() {
    type Row = (i64, [(i64, i64); 3], [&'static [(i64, i64)]; 3]);
    let rows: [Row; 5] = [
        (1, [(1, 1), (1, 1), (1, 0)], [&[(1, 1)], &[(1, 1)], &[(1, 1), (1, 0)]]),
        (2, [(1, 2), (1, 1), (2, 0)], [&[(1, 2)], &[(1, 2), (1, 1)], &[(1, 2), (1, 1), (2, 1), (2, 0)]]),
        (
            3,
            [(1, 3), (2, 2), (3, 0)],
            [&[(1, 3)], &[(1, 3), (1, 2), (2, 2)], &[(1, 3), (1, 2), (2, 2), (2, 1), (3, 1), (3, 0)]],
        ),
        (
            5,
            [(1, 4), (3, 3), (5, 0)],
            [&[(1, 5), (1, 4)], &[(2, 5), (2, 3), (3, 3)], &[(2, 5), (2, 3), (4, 3), (4, 1), (5, 1), (5, 0)]],
        ),
        (
            10,
            [(2, 8), (5, 5), (10, 0)],
            [
                &[(2, 10), (2, 8)],
                &[(3, 10), (3, 7), (5, 7), (5, 5)],
                &[(3, 10), (3, 7), (6, 7), (6, 4), (9, 4), (9, 1), (10, 1), (10, 0)],
            ],
        ),
    ];
    for (replicas, targets, ways) in rows {
        for ((weight, target), way) in [20, 50, 100].into_iter().zip(targets).zip(ways) {
            let bounds = bounds(replicas);
            assert_eq!(desired(bounds, weight), counts(target.0, target.1), "{replicas} at {weight}");
            assert_eq!(sequence(bounds, weight, counts(0, replicas)), way, "{replicas} to {weight}");
        }
    }
}

/// Upstream's table of whole rollouts (20, 50, 100 in sequence) and of an abort at 50.
#[test]
fn steps_follow_each_other_and_an_abort_leads_back() {
    type Row = (i64, [&'static [(i64, i64)]; 3], &'static [(i64, i64)]);
    let rows: [Row; 5] = [
        (1, [&[(1, 1)], &[], &[(1, 0)]], &[(0, 1)]),
        (2, [&[(1, 2)], &[(1, 1)], &[(2, 1), (2, 0)]], &[(1, 2), (0, 2)]),
        (3, [&[(1, 3)], &[(1, 2), (2, 2)], &[(2, 1), (3, 1), (3, 0)]], &[(1, 2), (1, 3), (0, 3)]),
        (
            5,
            [&[(1, 5), (1, 4)], &[(3, 4), (3, 3)], &[(3, 2), (5, 2), (5, 0)]],
            &[(3, 4), (1, 4), (1, 5), (0, 5)],
        ),
        (
            10,
            [&[(2, 10), (2, 8)], &[(5, 8), (5, 5)], &[(8, 5), (8, 2), (10, 2), (10, 0)]],
            &[(5, 8), (2, 8), (2, 10), (0, 10)],
        ),
    ];
    for (replicas, ways, back) in rows {
        let bounds = bounds(replicas);
        let mut now = counts(0, replicas);
        for (weight, way) in [20, 50, 100].into_iter().zip(ways) {
            assert_eq!(sequence(bounds, weight, now), way, "{replicas} to {weight}");
            now = desired(bounds, weight);
        }
        assert_eq!(sequence(bounds, 0, desired(bounds, 50)), back, "{replicas} aborted");
    }
}

#[test]
fn nothing_shrinks_before_older_replica_sets_are_gone() {
    let side = |spec| Side { spec, available: spec };
    let next = step(bounds(5), counts(1, 4), side(1), side(5), 1);
    assert_eq!(next, counts(1, 5));
}

#[test]
fn no_replicas_need_no_pods() {
    assert_eq!(desired(bounds(0), 20), counts(0, 0));
    assert_eq!(
        step(bounds(0), counts(0, 0), Side { spec: 0, available: 0 }, Side { spec: 3, available: 3 }, 0),
        counts(0, 0)
    );
}

proptest! {
    /// However Pods come and go, no pass asks for more than the surge allows or takes away what must stay available,
    /// and once they all are available the target is reached.
    #[test]
    fn bounds_are_kept_and_targets_reached(
        replicas in 0_i64..30,
        surge in 0_i64..8,
        unavailable in 0_i64..8,
        weight in 0_i64..=100,
        ready in prop::collection::vec(0_i64..100, 0..20),
    ) {
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        let bounds = Bounds { replicas, surge, unavailable };
        let target = desired(bounds, weight);
        prop_assert!(target.canary + target.stable <= replicas + i64::from(surge > 0));
        let mut now = counts(0, replicas);
        for share in ready.into_iter().chain(std::iter::repeat_n(100, 200)) {
            let canary = Side { spec: now.canary, available: now.canary * share / 100 };
            let stable = Side { spec: now.stable, available: now.stable };
            let next = step(bounds, target, canary, stable, 0);
            prop_assert!(next.canary + next.stable <= (replicas + surge).max(now.canary + now.stable));
            let kept = next.canary.min(canary.available) + next.stable.min(stable.available);
            let before = canary.available + stable.available;
            prop_assert!(kept >= (replicas - unavailable).min(before), "{now:?} to {next:?}");
            now = if next.stable == now.stable { next } else { Counts { stable: next.stable, ..now } };
        }
        prop_assert_eq!(now, target);
    }
}
