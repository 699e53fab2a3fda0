//! Generators made of generators.

use std::collections::BTreeMap;

use objects::Value;
use serde_json::Map;

use crate::Parameters;
use crate::error::Stop;
use crate::generators::Generators;
use crate::parameters::{overlay, shown};

/// More combinations than this come of a mistake.
const MOST: usize = 50_000;

/// Every pair of two generators' parameters; the second may use those of the first.
pub(crate) fn matrix(
    generators: &Generators<'_>,
    block: &Value,
    place: &str,
    depth: usize,
) -> Result<Vec<Parameters>, Stop> {
    let listed = block["generators"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [first, second] = listed else {
        let count = if listed.len() < 2 { "less" } else { "more" };
        return Err(format!("found {count} than two generators, Matrix support only two").into());
    };
    let attempt = "error failed to get params for first generator in matrix generator: child generator returned an error on parameter generation";
    let outer = generators.parameters(first, None, &format!("{place}.generators[0]"), depth - 1);
    let mut sets = Vec::new();
    let mut asks = false;
    for outer in outer.map_err(|stop| stop.during(attempt))? {
        let place = format!("{place}.generators[1]");
        let inner = match generators.parameters(second, Some(&outer), &place, depth - 1) {
            Ok(inner) => inner,
            // Everything that has to be found out is asked at once.
            Err(Stop::Asks) => {
                asks = true;
                continue;
            }
            Err(stop) => {
                let attempt = "failed to get params for second generator in the matrix generator: child generator returned an error on parameter generation";
                return Err(stop.during(attempt));
            }
        };
        for inner in inner {
            if sets.len() >= MOST {
                return Err(format!("{place}: more than {MOST} combinations").into());
            }
            sets.push(if generators.renderer.is_go() {
                let mut set = inner;
                overlay(&mut set, &outer);
                set
            } else {
                together(&outer, &inner)?
            });
        }
    }
    if asks { Err(Stop::Asks) } else { Ok(sets) }
}

fn together(left: &Parameters, right: &Parameters) -> Result<Parameters, Stop> {
    let mut set = left.clone();
    for (key, value) in right {
        if let Some(before) = set.get(key)
            && before != value
        {
            let (before, value) = (shown(before), shown(value));
            return Err(format!(
                "failed to combine string maps with merging params for the matrix generator: found duplicate key {key} with different value, a: {before} ,b: {value}"
            )
            .into());
        }
        set.insert(key.clone(), value.clone());
    }
    Ok(set)
}

/// The first generator's parameters, changed by those of the others that have the same keys.
pub(crate) fn merge(
    generators: &Generators<'_>,
    block: &Value,
    place: &str,
    depth: usize,
) -> Result<Vec<Parameters>, Stop> {
    let listed = block["generators"].as_array().map(Vec::as_slice).unwrap_or_default();
    if listed.len() < 2 {
        return Err("found less than two generators, Merge requires two or more".to_owned().into());
    }
    let keys: Vec<&str> =
        block["mergeKeys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if keys.is_empty() {
        return Err("error getting param sets by merge key: no merge keys were specified, Merge requires at least one"
            .to_owned()
            .into());
    }
    let (mut asks, mut all) = (false, Vec::new());
    for (index, generator) in listed.iter().enumerate() {
        match generators.parameters(generator, None, &format!("{place}.generators[{index}]"), depth - 1) {
            Ok(sets) => all.push(sets),
            Err(Stop::Asks) => asks = true,
            Err(stop) => {
                let attempt = format!(
                    "error getting param sets from generators: error getting params from generator {} of {}: child generator returned an error on parameter generation",
                    index + 1,
                    listed.len()
                );
                return Err(stop.during(&attempt));
            }
        }
    }
    if asks {
        return Err(Stop::Asks);
    }
    let mut all = all.into_iter();
    let base = all.next().unwrap_or_default();
    let mut merged: Vec<(String, Parameters)> =
        base.into_iter().map(|set| (key_of(&keys, &set), set)).collect();
    unique(merged.iter().map(|(key, _)| key))?;
    for sets in all {
        let sets: Vec<(String, Parameters)> =
            sets.into_iter().map(|set| (key_of(&keys, &set), set)).collect();
        unique(sets.iter().map(|(key, _)| key))?;
        let by_key: BTreeMap<String, Parameters> = sets.into_iter().collect();
        for (key, set) in &mut merged {
            let Some(over) = by_key.get(key) else { continue };
            if generators.renderer.is_go() {
                overlay(set, over);
            } else {
                set.extend(over.clone());
            }
        }
    }
    Ok(merged.into_iter().map(|(_, set)| set).collect())
}

fn key_of(keys: &[&str], set: &Parameters) -> String {
    let tuple: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), set.get(*key).cloned().unwrap_or(Value::Null))).collect();
    Value::Object(tuple).to_string()
}

fn unique<'a>(keys: impl Iterator<Item = &'a String>) -> Result<(), Stop> {
    let mut seen = std::collections::BTreeSet::new();
    for key in keys {
        if !seen.insert(key) {
            return Err(format!(
                "error getting param sets by merge key: the parameters from a generator were not unique by the given mergeKeys, Merge requires all param sets to be unique. Duplicate key was {key}"
            )
            .into());
        }
    }
    Ok(())
}
