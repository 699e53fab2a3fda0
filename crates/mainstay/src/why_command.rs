//! `mainstay why`: reads what the analysis asks for, until it has nothing more to ask.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::discovery::{Catalog, Served};
use client::dynamic::ListOptions;
use client::logs::{Log, LogOptions};
use client::{Error, Key, ResourceType, resource};
use futures::{StreamExt as _, stream};
use why::{Answer, Facts, Node, Question, State, Target};

use crate::cli::{Why, WhyFormat};
use crate::environment::Environment;
use crate::remote::output::{Machine, machine, say};
use crate::remote::progress::Progress;
use crate::remote::{NO, Remote, seconds};

/// Reads at the same time.
const PARALLEL: usize = 16;
/// The longest way from an Application to a container takes a dozen rounds for each application on it.
const MOST_ROUNDS: usize = 200;
/// What is read of a log at most.
const LOG_BYTES: u64 = 64 << 10;

pub(crate) async fn run(args: Why, environment: &Environment) -> Result<ExitCode> {
    let remote = Remote::connect(&args.connect, environment).await?;
    let target = target(&remote, &args).await?;
    let limit = seconds(args.timeout);
    let tree = tokio::time::timeout(limit, explain(&remote, &target, args.tail))
        .await
        .with_context(|| format!("look for the cause of {target}: not within {} s", limit.as_secs()))??;
    match args.output {
        WhyFormat::Tree => say(&tree.text(args.all))?,
        WhyFormat::Json => machine(&serde_json::to_value(&tree).context("write the tree")?, Machine::Json)?,
        WhyFormat::Yaml => machine(&serde_json::to_value(&tree).context("write the tree")?, Machine::Yaml)?,
    }
    Ok(if tree.state == State::Healthy { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// The object that was typed as `KIND/NAME`.
async fn target(remote: &Remote, args: &Why) -> Result<Target> {
    let Some((kind, name)) =
        args.object.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty())
    else {
        bail!(
            "{:?} names no object: it is written as KIND/NAME, as in app/gateway or pod/web-1",
            args.object
        );
    };
    let catalog = remote.resources.catalog().await?;
    let served = find(&catalog, kind).with_context(|| format!("the cluster serves no kind {kind:?}"))?;
    let resource = &served.resource;
    // An Application of another namespace is written as Argo CD writes it.
    let (typed, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (args.namespace.as_deref(), name),
    };
    let of_argo = resource.group == "argoproj.io" && resource.kind != "Rollout";
    let default = if of_argo { remote.namespace.as_str() } else { "default" };
    let namespace = if resource.namespaced { typed.unwrap_or(default) } else { "" };
    Ok(Target::new(&resource.group, &resource.kind, namespace, name))
}

/// A type by any of the names that `kubectl` takes: `deploy`, `deployment`, `deployments.apps`.
fn find<'a>(catalog: &'a Catalog, typed: &str) -> Option<&'a Served> {
    let typed = typed.to_lowercase();
    let (name, group) = match typed.split_once('.') {
        Some((name, group)) => (name, Some(group)),
        None => (typed.as_str(), None),
    };
    let types = catalog.preferred_types();
    let is = |served: &&&'a Served| {
        let resource = &served.resource;
        group.is_none_or(|group| resource.group == group)
            && (resource.plural == name
                || served.singular == name
                || resource.kind.to_lowercase() == name
                || served.short_names.iter().any(|short| short == name))
    };
    types.iter().find(is).copied()
}

async fn explain(remote: &Remote, target: &Target, tail: u32) -> Result<Node> {
    let progress = Progress::start(format!("looking at {target}"));
    let mut facts = Facts::default();
    for _ in 0..MOST_ROUNDS {
        let tree = why::explain(&facts, target);
        let questions = facts.take_questions();
        let Some(first) = questions.first() else { return Ok(tree) };
        progress.set(format!("reading {} ({} in all)", said(first), questions.len()));
        let reads = stream::iter(questions).map(|question| async move {
            let answer = answer(remote, &question, tail).await;
            (question, answer)
        });
        let answers: Vec<(Question, Result<Answer, Error>)> =
            reads.buffer_unordered(PARALLEL).collect().await;
        for (question, answer) in answers {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) if error.is_unknown_kind() => Answer::UnknownKind,
                Err(error) if error.is_not_found() => Answer::Absent,
                // Without an answer at all nothing can be said; a refusal is a fact.
                Err(error @ (Error::Transport { .. } | Error::Deadline { .. })) => return Err(error.into()),
                Err(error) => Answer::Failed(error.message()),
            };
            facts.add(question, answer);
        }
    }
    bail!("{target} leads further than {MOST_ROUNDS} steps")
}

fn said(question: &Question) -> String {
    match question {
        Question::Object(target) => target.to_string(),
        Question::List { kind, namespace, .. } => format!("every {kind} in {namespace}"),
        Question::Events { kind, name, .. } => format!("Events of {kind} {name}"),
        Question::Log { pod, container, .. } => format!("the log of {pod}, container {container}"),
    }
}

async fn answer(remote: &Remote, question: &Question, tail: u32) -> Result<Answer, Error> {
    match question {
        Question::Object(target) => {
            let resource = served(remote, &target.group, &target.kind).await?;
            let namespace = Some(target.namespace.as_str()).filter(|_| resource.namespaced);
            if resource.namespaced && target.namespace.is_empty() {
                return Ok(Answer::Absent);
            }
            let found = remote.api(&resource).find(&Key::new(namespace, &target.name)).await?;
            Ok(found.map_or(Answer::Absent, Answer::Object))
        }
        Question::List { group, kind, namespace } => {
            let resource = served(remote, group, kind).await?;
            let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
            Ok(Answer::List(remote.api(&resource).list_all(namespace, &ListOptions::all()).await?.items))
        }
        Question::Events { kind, namespace, name } => {
            let fields =
                ListOptions::fields(format!("involvedObject.kind={kind},involvedObject.name={name}"));
            let namespace = if namespace.is_empty() { "default" } else { namespace };
            Ok(Answer::List(remote.api(&resource::EVENTS).list_all(Some(namespace), &fields).await?.items))
        }
        Question::Log { namespace, pod, container, previous } => {
            let options = LogOptions {
                container: Some(container.clone()),
                previous: *previous,
                tail_lines: Some(tail),
                limit_bytes: Some(LOG_BYTES),
                ..LogOptions::default()
            };
            log(remote, &Key::namespaced(namespace, pod), &options).await
        }
    }
}

/// Nothing is waited for longer than this from a node that may be the one that is gone.
const LOG_WAIT: Duration = Duration::from_secs(5);

async fn log(remote: &Remote, pod: &Key, options: &LogOptions) -> Result<Answer, Error> {
    let read = async {
        // A container that never ran has no log; that is no news.
        let Ok(mut log) = Log::open(&remote.client, pod, options).await else { return Answer::Absent };
        let mut text = String::new();
        while let Ok(Some(line)) = log.line().await {
            text.push_str(&String::from_utf8_lossy(&line));
            text.push('\n');
        }
        Answer::Text(text)
    };
    Ok(tokio::time::timeout(LOG_WAIT, read).await.unwrap_or(Answer::Absent))
}

async fn served(remote: &Remote, group: &str, kind: &str) -> Result<ResourceType, Error> {
    Ok(remote.resources.preferred(group, kind).await?.resource)
}
