//! `mainstay takeover`: Applications move between Argo CD and Mainstay, one by one, and back.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::dynamic::{ListOptions, Patch, PatchOptions};
use client::{Api, Key, resource};
use gitops::ArgoCd;
use objects::{Value, meta};
use serde_json::json;
use sync::annotations::REFRESH;
use sync::takeover::{self, Refused, Stage};
use tokio::time::{Instant, sleep};

use crate::cli::{ManifestFormat, Takeover, TakeoverCommand, TakeoverStatus};
use crate::environment::Environment;
use crate::remote::output::{Machine, machine, say};
use crate::remote::table::Table;
use crate::remote::{NO, Remote, confirm, seconds};

/// Pause between two looks at an Application.
const LOOK: Duration = Duration::from_millis(200);
/// Who writes the annotations.
const MANAGER: &str = "mainstay-takeover";

pub(crate) async fn run(typed: Takeover, environment: &Environment) -> Result<ExitCode> {
    let remote = Remote::connect(&typed.connect, environment).await?;
    match typed.command {
        TakeoverCommand::Status(typed) => status(&remote, &typed).await,
        TakeoverCommand::Take(typed) => {
            let patience =
                Patience { settle: Duration::from_secs(typed.settle), limit: seconds(typed.timeout) };
            each(&remote, typed.names.iter().map(|name| remote.key(name)).collect(), patience, Way::Take)
                .await
        }
        TakeoverCommand::Return(typed) => {
            let patience =
                Patience { settle: Duration::from_secs(typed.settle), limit: seconds(typed.timeout) };
            let keys = if typed.all {
                let all = applications(&remote).await?;
                let taken = all.iter().filter(|application| takeover::stage(application) != Stage::Untaken);
                taken.map(Key::of).collect()
            } else {
                typed.names.iter().map(|name| remote.key(name)).collect()
            };
            each(&remote, keys, patience, Way::Return).await
        }
        TakeoverCommand::Finish(typed) => finish(&remote, typed.yes).await,
    }
}

async fn applications(remote: &Remote) -> Result<Vec<Value>> {
    Ok(remote.applications().list_all(Some(&remote.namespace), &ListOptions::all()).await?.items)
}

/// Whether an Argo CD was seen, and which are there.
async fn argo_cds(remote: &Remote) -> Result<(bool, Vec<ArgoCd>)> {
    let key = Key::namespaced(&remote.namespace, gitops::NOTE);
    let noted = Api::new(&remote.client, &resource::CONFIG_MAPS).find(&key).await?.is_some();
    Ok((noted, gitops::argo_cd(&remote.client, None).await?))
}

async fn status(remote: &Remote, typed: &TakeoverStatus) -> Result<ExitCode> {
    let (noted, found) = argo_cds(remote).await?;
    let paused = noted || !found.is_empty();
    let whose = |application: &Value| match takeover::stage(application) {
        Stage::Taken => "mainstay",
        Stage::HandedOver => "nobody",
        Stage::Untaken if paused => "argocd",
        Stage::Untaken => "mainstay",
    };
    let all = applications(remote).await?;
    if let Some(format) = typed.output {
        let form = if format == ManifestFormat::Json { Machine::Json } else { Machine::Yaml };
        let argo_cds: Vec<Value> = found
            .iter()
            .map(|one| {
                json!({"kind": one.kind, "namespace": one.key.namespace, "name": one.key.name,
                "replicas": one.replicas, "image": one.image})
            })
            .collect();
        let list: Vec<Value> = all
            .iter()
            .map(|one| json!({"namespace": meta::namespace(one), "name": meta::name(one), "controller": whose(one)}))
            .collect();
        machine(&json!({"argocd": argo_cds, "noted": noted, "applications": list}), form)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for one in &found {
        text.push_str(&format!("Argo CD       {one}, {} replicas, {}\n", one.replicas, one.image));
    }
    if found.is_empty() {
        text.push_str(match noted {
            true => {
                "Argo CD       was here and is gone: `mainstay takeover finish` makes everything Mainstay's\n"
            }
            false => "Argo CD       is not here: everything is Mainstay's\n",
        });
    }
    let mut table = Table::new(&["NAME", "CONTROLLER", "SYNC STATUS", "HEALTH STATUS"]);
    for one in &all {
        let said =
            |pointer: &str| one.pointer(pointer).and_then(Value::as_str).unwrap_or("Unknown").to_owned();
        table.row([
            Key::of(one).to_string(),
            whose(one).to_owned(),
            said("/status/sync/status"),
            said("/status/health/status"),
        ]);
    }
    say(&format!("{text}\n{table}"))?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Clone, Copy)]
enum Way {
    Take,
    Return,
}

#[derive(Clone, Copy)]
struct Patience {
    /// For how long nothing may have written.
    settle: Duration,
    limit: Duration,
}

/// One after another; one that cannot move keeps none of the others.
async fn each(remote: &Remote, keys: Vec<Key>, patience: Patience, way: Way) -> Result<ExitCode> {
    let mut failed = false;
    for key in keys {
        let moving = Moving {
            remote,
            api: remote.applications(),
            key: &key,
            patience,
            until: Instant::now() + patience.limit,
        };
        let moved = match way {
            Way::Take => moving.take().await,
            Way::Return => moving.give_back().await,
        };
        match moved {
            Ok(said) => say(&format!("{key} {said}\n"))?,
            Err(error) => {
                eprintln!("mainstay: {key}: {error:#}");
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

/// One Application on its way.
struct Moving<'a> {
    remote: &'a Remote,
    api: Api,
    key: &'a Key,
    patience: Patience,
    until: Instant,
}

impl Moving<'_> {
    async fn get(&self) -> Result<Value> {
        match self.api.find(self.key).await? {
            Some(application) => Ok(application),
            None => bail!("there is no such Application; `mainstay app list` shows those there are"),
        }
    }

    async fn take(&self) -> Result<String> {
        let application = self.get().await?;
        if takeover::stage(&application) == Stage::Taken {
            return Ok("is taken already".to_owned());
        }
        let (noted, found) = argo_cds(self.remote).await?;
        if !noted && found.is_empty() {
            bail!("there is no Argo CD to take it from: it is Mainstay's");
        }
        self.consent_of_set(&application).await?;
        if takeover::stage(&application) == Stage::Untaken {
            self.patch(takeover::hand_over).await?;
        }
        self.settled().await?;
        self.patch(takeover::take).await?;
        self.looked_at().await?;
        Ok("taken".to_owned())
    }

    /// Argo CD's ApplicationSet controller would take the annotations off again.
    async fn consent_of_set(&self, application: &Value) -> Result<()> {
        let Some(name) = takeover::set_of(application) else { return Ok(()) };
        let key = Key::new(self.key.namespace.as_deref(), &name);
        let set = self.remote.api(&resource::APPLICATION_SETS).find(&key).await?;
        match set {
            Some(set) if !takeover::preserves(&set) => Err(Refused::Generated { set: name }.into()),
            _ => Ok(()),
        }
    }

    async fn give_back(&self) -> Result<String> {
        let application = self.get().await?;
        match takeover::stage(&application) {
            Stage::Untaken => return Ok("was not taken".to_owned()),
            Stage::Taken => self.patch(takeover::let_go).await?,
            Stage::HandedOver => {}
        }
        self.settled().await?;
        self.patch(takeover::give_back).await?;
        Ok("given back".to_owned())
    }

    /// Changes the Application, again where somebody else changed it meanwhile or an operation has to end first.
    async fn patch(&self, change: impl Fn(&Value) -> Result<Value, Refused>) -> Result<()> {
        loop {
            let application = self.get().await?;
            let operations = match change(&application) {
                Ok(operations) => operations,
                Err(Refused::Operating) if Instant::now() < self.until => {
                    sleep(LOOK).await;
                    continue;
                }
                Err(refused) => return Err(refused.into()),
            };
            let patched =
                self.api.patch(self.key, &Patch::Json(operations), &PatchOptions::manager(MANAGER)).await;
            match patched {
                Ok(_) => return Ok(()),
                // A test that fails is one of these.
                Err(error) if (error.is_invalid() || error.is_conflict()) && Instant::now() < self.until => {
                    sleep(LOOK).await;
                }
                Err(error) => return Err(error).context("change its annotations"),
            }
        }
    }

    /// Waits until nobody has written for a while: whoever was told to leave it alone may still be looking at it.
    async fn settled(&self) -> Result<()> {
        let mut last = (String::new(), Instant::now());
        loop {
            let application = self.get().await?;
            let version = meta::resource_version(&application);
            if version != last.0 || takeover::is_operating(&application) {
                last = (version.to_owned(), Instant::now());
            }
            if last.1.elapsed() >= self.patience.settle {
                return Ok(());
            }
            if Instant::now() > self.until {
                bail!(
                    "it is still being written after {} s; nobody looks after it now: try again, or give it back with \
                     `mainstay takeover return {}`",
                    self.patience.limit.as_secs(),
                    self.key
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Whoever has it answers the request for a look at it.
    async fn looked_at(&self) -> Result<()> {
        while meta::annotation(&self.get().await?, REFRESH).is_some() {
            if Instant::now() > self.until {
                bail!(
                    "it is marked as Mainstay's, and no controller took it up within {} s: is one running (`mainstay install`)? \
                     `mainstay takeover return {}` gives it back",
                    self.patience.limit.as_secs(),
                    self.key
                );
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

async fn finish(remote: &Remote, yes: bool) -> Result<ExitCode> {
    let (noted, found) = argo_cds(remote).await?;
    if let Some(one) = found.first() {
        bail!("Argo CD is still here ({one}); remove it first, keeping its definitions and Applications");
    }
    if !noted {
        say("everything is Mainstay's already\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let all = applications(remote).await?;
    let untaken = all.iter().filter(|application| takeover::stage(application) == Stage::Untaken).count();
    let question =
        format!("Make {untaken} Applications that were not taken, and all ApplicationSets, Mainstay's?");
    if !confirm(&question, yes)? {
        return Ok(ExitCode::from(NO));
    }
    gitops::release_claim(&remote.client, &remote.namespace).await?;
    say("everything is Mainstay's\n")?;
    Ok(ExitCode::SUCCESS)
}
