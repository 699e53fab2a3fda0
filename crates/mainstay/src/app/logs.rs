//! `app logs`: of all containers of an Application's Pods, one after another, or together while they are followed.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use client::dynamic::ListOptions;
use client::logs::{Log, LogOptions};
use client::{Key, resource};
use futures::stream::{self, StreamExt as _};
use objects::{Value, meta};

use super::live;
use crate::cli::Logs;
use crate::remote::Remote;
use crate::remote::output::{array, say};

/// More containers than this at once are too many streams to be followed.
const MOST_STREAMS: usize = 64;

pub(super) async fn run(remote: &Remote, args: &Logs) -> Result<()> {
    let application = remote.application(&args.name).await?;
    let pods = pods(remote, &application, args).await?;
    let containers: Vec<(Key, String)> = pods
        .iter()
        .flat_map(|pod| {
            let names = array(pod, "/spec/containers").iter().chain(array(pod, "/spec/initContainers"));
            names
                .filter_map(|container| container["name"].as_str())
                .filter(|name| match &args.container {
                    Some(wanted) => name == wanted,
                    // Those that ran before the Pod's own are asked for by name.
                    None => array(pod, "/spec/containers").iter().any(|container| container["name"] == *name),
                })
                .map(|name| (Key::of(pod), name.to_owned()))
        })
        .collect();
    if containers.is_empty() {
        bail!("application {} has no such Pod or container", args.name);
    }
    let named = containers.len() > 1;
    let options = |container: &str| LogOptions {
        container: Some(container.to_owned()),
        follow: args.follow,
        previous: args.previous,
        tail_lines: args.tail,
        since_seconds: args.since_seconds,
        ..LogOptions::default()
    };
    let write = |pod: &Key, container: &str, line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        if args.filter.as_deref().is_some_and(|text| !line.contains(text)) {
            return Ok(());
        }
        if named { say(&format!("{}/{container}: {line}\n", pod.name)) } else { say(&format!("{line}\n")) }
    };
    if !args.follow {
        for (pod, container) in &containers {
            match Log::open(&remote.client, pod, &options(container)).await {
                Ok(mut log) => {
                    while let Some(line) = log.line().await? {
                        write(pod, container, &line)?;
                    }
                }
                // One that has not started is no reason to keep back the others.
                Err(error) if named => {
                    eprintln!("mainstay: {pod}, container {container}: {}", error.message())
                }
                Err(error) => return Err(error.into()),
            }
        }
        return Ok(());
    }
    if containers.len() > MOST_STREAMS {
        bail!(
            "{} containers are too many to follow; choose with --kind, --name or --container",
            containers.len()
        );
    }
    let mut streams = stream::SelectAll::new();
    for (pod, container) in containers {
        match Log::open(&remote.client, &pod, &options(&container)).await {
            Ok(log) => streams.push(lines(log, pod, container).boxed()),
            Err(error) => eprintln!("mainstay: {pod}, container {container}: {}", error.message()),
        }
    }
    while let Some((pod, container, line)) = streams.next().await {
        write(&pod, &container, &line?)?;
    }
    Ok(())
}

type Line = (Key, String, Result<Vec<u8>, client::Error>);

fn lines(log: Log, pod: Key, container: String) -> impl stream::Stream<Item = Line> {
    stream::unfold(Some(log), move |log| {
        let (pod, container) = (pod.clone(), container.clone());
        async move {
            let mut log = log?;
            match log.line().await {
                Ok(line) => Some(((pod, container, Ok(line?.to_vec())), Some(log))),
                Err(error) => Some(((pod, container, Err(error)), None)),
            }
        }
    })
}

/// The Pods that an Application's resources are or own.
async fn pods(remote: &Remote, application: &Value, args: &Logs) -> Result<Vec<Value>> {
    let resources = live::read(remote, application).await?;
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let chosen: Vec<&Value> = resources
        .iter()
        .filter(|live| {
            is(&args.group, &live.key.group)
                && is(&args.kind, &live.key.kind)
                && is(&args.resource, &live.key.name)
                && is(&args.namespace, &live.key.namespace)
        })
        .filter_map(|live| live.object.as_ref())
        .collect();
    let mut owners: BTreeSet<String> = chosen.iter().map(|object| meta::uid(object).to_owned()).collect();
    let namespaces: BTreeSet<&str> = chosen.iter().filter_map(|object| meta::namespace(object)).collect();
    let mut found = Vec::new();
    for namespace in namespaces {
        // From owner to owned: ReplicaSets and Jobs stand between.
        for kind in [&resource::REPLICA_SETS, &resource::JOBS] {
            for object in remote.api(kind).list_all(Some(namespace), &ListOptions::all()).await?.items {
                if meta::owner_references(&object).iter().any(|owner| owners.contains(&owner.uid)) {
                    owners.insert(meta::uid(&object).to_owned());
                }
            }
        }
        for pod in remote.api(&resource::PODS).list_all(Some(namespace), &ListOptions::all()).await?.items {
            let own = owners.contains(meta::uid(&pod))
                || meta::owner_references(&pod).iter().any(|owner| owners.contains(&owner.uid));
            if own {
                found.push(pod);
            }
        }
    }
    Ok(found)
}
