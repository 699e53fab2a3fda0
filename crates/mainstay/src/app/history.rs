//! `app history` and `app rollback`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use client::Key;
use objects::{Value, meta};
use serde_json::json;

use super::operation;
use super::show::{self, Shown, revisions};
use crate::cli::{History, HistoryFormat, Rollback};
use crate::remote::output::{Machine, array, machine, say, text};
use crate::remote::table::Table;
use crate::remote::{NO, Remote, seconds};

pub(super) async fn run(remote: &Remote, args: &History) -> Result<()> {
    let application = remote.application(&args.name).await?;
    let history = array(&application, "/status/history");
    match args.output {
        HistoryFormat::Id => {
            say(&history.iter().map(|entry| format!("{}\n", entry["id"])).collect::<String>())
        }
        HistoryFormat::Json => machine(&json!(history), Machine::Json),
        HistoryFormat::Yaml => machine(&json!(history), Machine::Yaml),
        HistoryFormat::Wide => say(&table(history)),
    }
}

fn table(history: &[Value]) -> String {
    let mut table = Table::new(&["ID", "DATE", "REVISION", "INITIATOR"]);
    for entry in history {
        let source = if entry["source"].is_object() { &entry["source"] } else { &entry["sources"][0] };
        let target = text(source, "/targetRevision");
        let revision = revisions(entry);
        let revision = if target.is_empty() { revision } else { format!("{target} ({revision})") };
        let by = match text(entry, "/initiatedBy/username") {
            "" if entry["initiatedBy"]["automated"] == true => "automated sync policy",
            name => name,
        };
        table.row([entry["id"].to_string(), text(entry, "/deployedAt").to_owned(), revision, by.to_owned()]);
    }
    table.to_string()
}

pub(super) async fn rollback(remote: &Remote, args: &Rollback) -> Result<ExitCode> {
    let application = remote.application(&args.name).await?;
    let key = Key::of(&application);
    let id = wanted(&application, args.id)?;
    operation::place(remote, &key, |application| requested(remote, application, id, args.prune)).await?;
    let mut failed = false;
    for outcome in operation::follow(remote, &[key], seconds(args.timeout)).await {
        if let Some(application) = outcome.application {
            show::print(remote, application, args.output, Shown { operation: true, params: false }).await?;
        }
        if let Some(problem) = outcome.problem {
            failed = true;
            eprintln!("mainstay: application {}: {problem}", outcome.key);
        }
    }
    Ok(if failed { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

/// The entry that was named, or the one before the last.
fn wanted(application: &Value, id: Option<i64>) -> Result<i64> {
    let history = array(application, "/status/history");
    let name = meta::name(application);
    match id {
        Some(id) if history.iter().any(|entry| entry["id"] == id) => Ok(id),
        Some(id) => bail!("the history of {name} has no entry {id}; `mainstay app history {name}` shows it"),
        None => match history {
            [.., before, _] => Ok(before["id"].as_i64().unwrap_or(0)),
            _ => bail!("the history of {name} has nothing to go back to"),
        },
    }
}

/// The operation that deploys an entry of the history again.
fn requested(remote: &Remote, application: &Value, id: i64, prune: bool) -> Result<Value> {
    let automated = &application["spec"]["syncPolicy"]["automated"];
    if automated.is_object() && automated["enabled"] != false {
        bail!(
            "rollback cannot be initiated when auto-sync is enabled; `mainstay app set {} --sync-policy none` turns it off",
            meta::name(application)
        );
    }
    let entry = array(application, "/status/history").iter().find(|entry| entry["id"] == id);
    let Some(entry) = entry else { bail!("the history has no entry {id} any more") };
    let mut sync = json!({"prune": prune, "syncStrategy": {"apply": {}}});
    for field in ["revision", "revisions", "source", "sources"] {
        if !entry[field].is_null() {
            sync[field] = entry[field].clone();
        }
    }
    if let Some(options) = application.pointer("/spec/syncPolicy/syncOptions") {
        sync["syncOptions"] = options.clone();
    }
    Ok(json!({"sync": sync, "initiatedBy": {"username": remote.username()}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_before_the_last_is_what_one_goes_back_to() {
        let application =
            json!({"metadata": {"name": "a"}, "status": {"history": [{"id": 3}, {"id": 4}, {"id": 5}]}});
        assert_eq!(wanted(&application, None).unwrap(), 4);
        assert_eq!(wanted(&application, Some(3)).unwrap(), 3);
        assert!(wanted(&application, Some(9)).unwrap_err().to_string().contains("no entry 9"));
        assert!(wanted(&json!({"status": {"history": [{"id": 0}]}}), None).is_err());
    }
}
