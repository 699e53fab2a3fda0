//! `mainstay app`: Applications, by the verbs that an `argocd` user knows.

mod actions;
mod change;
mod diff;
mod history;
mod list;
mod live;
mod logs;
mod mask;
mod operation;
mod orphans;
mod preview;
mod select;
mod show;
mod spec;
mod sync;
mod tree;
mod wait;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{App, AppCommand};
use crate::environment::Environment;
use crate::remote::Remote;

pub(crate) async fn run(app: App, environment: &Environment) -> Result<ExitCode> {
    let remote = Remote::connect(&app.connect, environment).await?;
    let done = |()| ExitCode::SUCCESS;
    match app.command {
        AppCommand::List(list) => list::run(&remote, &list).await.map(done),
        AppCommand::Get(get) => show::get(&remote, &get).await.map(done),
        AppCommand::Create(create) => spec::create(&remote, &create).await.map(done),
        AppCommand::Set(set) => spec::set(&remote, &set).await.map(done),
        AppCommand::Unset(unset) => spec::unset(&remote, &unset).await.map(done),
        AppCommand::Diff(diff) => diff::run(&remote, &diff).await,
        AppCommand::Sync(sync) => sync::run(&remote, &sync).await,
        AppCommand::Wait(wait) => wait::run(&remote, &wait).await,
        AppCommand::History(history) => history::run(&remote, &history).await.map(done),
        AppCommand::Rollback(rollback) => history::rollback(&remote, &rollback).await,
        AppCommand::Logs(logs) => logs::run(&remote, &logs).await.map(done),
        AppCommand::Manifests(manifests) => diff::manifests(&remote, &manifests).await.map(done),
        AppCommand::Resources(resources) => show::resources(&remote, &resources).await.map(done),
        AppCommand::Patch(patch) => change::patch(&remote, &patch).await.map(done),
        AppCommand::PatchResource(patch) => change::patch_resource(&remote, &patch).await.map(done),
        AppCommand::Delete(delete) => change::delete(&remote, &delete).await,
        AppCommand::DeleteResource(delete) => change::delete_resource(&remote, &delete).await.map(done),
        AppCommand::Refresh(refresh) => wait::refresh_all(&remote, &refresh).await.map(done),
        AppCommand::TerminateOp { name } => operation::terminate(&remote, &name).await.map(done),
        AppCommand::Actions(actions) => actions::run(&remote, &actions.command).await.map(done),
    }
}
