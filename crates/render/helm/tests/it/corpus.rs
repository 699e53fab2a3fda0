//! The recorded cases of `shared/charts`.

use crate::cases::{cases, compare, options};
use crate::shared;

/// How many cases come out exactly as recorded, and how many with random parts masked. They may only grow.
const EXACT: usize = 229;
const RANDOM: usize = 38;

#[test]
fn recorded_charts_render_as_helm_renders_them() {
    let only = option_env!("HELM_CASE");
    let mut chart_name = String::new();
    let mut chart = None;
    let (mut exact, mut random, mut failures) = (0, 0, Vec::new());
    for case in cases() {
        if only.is_some_and(|only| !format!("{}/{}", case.chart, case.name).contains(only)) {
            continue;
        }
        if chart_name != case.chart {
            let files = shared::tree(&shared::path(&format!("charts/charts/{}", case.chart)));
            chart = Some(helm::load(&files, "").unwrap());
            chart_name.clone_from(&case.chart);
        }
        let result = helm::render(chart.as_ref().unwrap(), &options(&case));
        match compare(&case, result) {
            None if case.deterministic => exact += 1,
            None => random += 1,
            Some(problem) => failures.push(format!("{}/{}: {problem}", case.chart, case.name)),
        }
    }
    for failure in &failures {
        println!("{failure}");
    }
    println!("{exact} exact, {random} random, {} different", failures.len());
    assert!(only.is_some() || exact >= EXACT, "only {exact} of {EXACT} cases are exact: {failures:#?}");
    assert!(only.is_some() || random >= RANDOM, "only {random} of {RANDOM} random cases fit: {failures:#?}");
}
