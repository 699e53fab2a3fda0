//! A replica that does not lead: it has whoever leads look, by the annotations with which people ask for a refresh. What is
//! an Argo CD's is left alone, as whoever leads does.

use std::collections::BTreeMap;

use client::dynamic::{ListOptions, Patch, PatchOptions};
use client::{Api, Client, Key, ResourceType, resource};
use objects::{Value, meta};
use serde_json::json;
use sync::annotations::{MANIFEST_GENERATE_PATHS, REFRESH};
use sync::takeover::{self, Stage};
use webhooks::{Event, Push, refresh_paths};

use crate::ownership::{self, Claim};
use crate::sets;

/// So many Applications of one repository are asked to look. One that does has it fetched, and what moved wakes the
/// others; several are asked because some may be nobody's just now.
const MOST: usize = 20;
/// Generators are nested no deeper.
const DEEPEST: usize = 8;

/// Has everybody concerned look.
///
/// # Errors
/// If the API does not answer.
pub(super) async fn tell(client: &Client, namespace: &str, event: &Event) -> Result<(), client::Error> {
    if matches!(event, Event::Ping) {
        return Ok(());
    }
    let claim = ownership::noted(client, namespace).await?;
    match event {
        Event::Ping => Ok(()),
        Event::Push(push) => {
            applications(client, namespace, claim, push).await?;
            let text = |block: &Value, field: &str| block[field].as_str().unwrap_or_default().to_owned();
            let concerned = |kind: &str, block: &Value| {
                kind == "git" && push.is_of(&text(block, "repoURL")) && push.moves(&text(block, "revision"))
            };
            application_sets(client, namespace, claim, &concerned).await
        }
        Event::PullRequest(pull) => {
            let concerned = |kind: &str, block: &Value| kind == "pullRequest" && pull.concerns(block);
            application_sets(client, namespace, claim, &concerned).await
        }
    }
}

async fn applications(
    client: &Client,
    namespace: &str,
    claim: Claim,
    push: &Push,
) -> Result<(), client::Error> {
    let api = Api::new(client, &resource::APPLICATIONS);
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for application in api.list_all(Some(namespace), &ListOptions::all()).await?.items {
        let left_alone = takeover::skips(&application) && takeover::stage(&application) != Stage::Taken;
        if left_alone || !claim.covers(&application) {
            continue;
        }
        let Some(url) = concerned(&application, push) else { continue };
        let before = asked.entry(url.to_owned()).or_default();
        *before += 1;
        if *before <= MOST {
            ask(client, &resource::APPLICATIONS, &application, (REFRESH, "normal")).await?;
        }
    }
    Ok(())
}

/// The repository of a source that a push may have changed.
fn concerned<'a>(application: &'a Value, push: &Push) -> Option<&'a str> {
    let spec = &application["spec"];
    let several = spec["sources"].as_array().into_iter().flatten();
    let mut sources = several.chain(spec["source"].is_object().then_some(&spec["source"]));
    let annotation = meta::annotation(application, MANIFEST_GENERATE_PATHS).unwrap_or_default();
    sources.find_map(|source| {
        let text = |field: &str| source[field].as_str().unwrap_or_default();
        let url = text("repoURL");
        let moved = push.is_of(url)
            && push.moves(text("targetRevision"))
            && push.touches(&refresh_paths(annotation, text("path")));
        moved.then_some(url)
    })
}

async fn application_sets(
    client: &Client,
    namespace: &str,
    claim: Claim,
    concerned: &(dyn Fn(&str, &Value) -> bool + Sync),
) -> Result<(), client::Error> {
    if claim != Claim::All {
        return Ok(());
    }
    let api = Api::new(client, &resource::APPLICATION_SETS);
    for set in api.list_all(Some(namespace), &ListOptions::all()).await?.items {
        if asks(&set["spec"]["generators"], concerned, DEEPEST) {
            ask(client, &resource::APPLICATION_SETS, &set, (sets::REFRESH, "true")).await?;
        }
    }
    Ok(())
}

/// Whether one of these generators, or one inside of them, is concerned.
fn asks(generators: &Value, concerned: &(dyn Fn(&str, &Value) -> bool + Sync), depth: usize) -> bool {
    let generators = generators.as_array().into_iter().flatten().filter_map(Value::as_object);
    depth > 0
        && generators
            .flatten()
            .any(|(kind, block)| concerned(kind, block) || asks(&block["generators"], concerned, depth - 1))
}

async fn ask(
    client: &Client,
    kind: &ResourceType,
    object: &Value,
    (annotation, value): (&str, &str),
) -> Result<(), client::Error> {
    let change = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
    match Api::new(client, kind).patch(&Key::of(object), &change, &PatchOptions::default()).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
