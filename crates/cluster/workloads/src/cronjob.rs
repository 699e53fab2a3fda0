//! CronJobs: Jobs at the times of a schedule.

mod plan;

use client::controller::{Action, Controller};
use client::dynamic::{DeleteOptions, ListOptions};
use client::events::Recorder;
use client::resource::{CRON_JOBS, JOBS};
use client::{Api, Client, Error, Key, chain};
use jiff::Timestamp;
use objects::meta;
use objects::schedule::Schedule;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use plan::Due;

pub(crate) const ACCOUNT: &str = "cronjob-controller";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get", "list", "update", "watch"] },
        { "apiGroups": ["batch"], "resources": ["cronjobs/status"], "verbs": ["update", "patch"] },
        { "apiGroups": ["batch"], "resources": ["cronjobs/finalizers"], "verbs": ["update"] },
        { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "delete", "get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"] },
    ])
}

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let this = CronJobs {
        cron_jobs: Api::new(&client, &CRON_JOBS),
        jobs: Api::new(&client, &JOBS),
        recorder: Recorder::new(&client, ACCOUNT),
    };
    Controller::new("cronjob", client)
        .primary(CRON_JOBS)
        .owned(JOBS, CRON_JOBS)
        .concurrency(2)
        .run(
            move |key| {
                let this = this.clone();
                async move { this.reconcile(&key).await }
            },
            shutdown,
        )
        .await;
}

#[derive(Clone)]
struct CronJobs {
    cron_jobs: Api,
    jobs: Api,
    recorder: Recorder,
}

impl CronJobs {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(mut cron_job) = self.cron_jobs.find(key).await? else { return Ok(Action::Done) };
        let listed = self.jobs.list_all(key.namespace.as_deref(), &ListOptions::all()).await?.items;
        let mut jobs: Vec<Value> =
            listed.into_iter().filter(|job| meta::is_controlled_by(job, meta::uid(&cron_job))).collect();
        let mut status = plan::observe(&cron_job, &jobs);
        self.trim_history(&cron_job, &mut jobs).await?;
        let mut action = Action::Done;
        if !meta::is_deleting(&cron_job) && cron_job["spec"]["suspend"] != true {
            action = self.follow_schedule(&cron_job, &jobs, &mut status).await?;
        }
        if status != cron_job["status"] {
            cron_job["status"] = status;
            self.cron_jobs.replace_status(&cron_job).await?;
        }
        Ok(action)
    }

    async fn follow_schedule(
        &self,
        cron_job: &Value,
        jobs: &[Value],
        status: &mut Value,
    ) -> Result<Action, Error> {
        let schedule = match Schedule::of(cron_job) {
            Ok(schedule) => schedule,
            Err(error) => {
                let text = format!(
                    "unparseable schedule: {:?} : {}",
                    cron_job["spec"]["schedule"].as_str().unwrap_or(""),
                    chain(&error)
                );
                self.recorder.warning(cron_job, "UnparseableSchedule", &text).await;
                return Ok(Action::Done);
            }
        };
        let now = Timestamp::now();
        match plan::due(cron_job, &schedule, now) {
            Due::Never => return Ok(Action::Done),
            Due::Later => {}
            Due::Missed(at) => {
                let text = format!("Missed scheduled time to start a job: {}", meta::format_time(at));
                self.recorder.warning(cron_job, "MissSchedule", &text).await;
            }
            Due::Now(at) => self.start(cron_job, jobs, at, status).await?,
        }
        let next = schedule.next(now).map(|next| next.duration_since(now));
        Ok(match next.and_then(|wait| std::time::Duration::try_from(wait).ok()) {
            // A little after the time itself, so that a clock read slightly early does not cause a second wait.
            Some(wait) => Action::RequeueAfter(wait + std::time::Duration::from_millis(100)),
            None => Action::Done,
        })
    }

    async fn start(
        &self,
        cron_job: &Value,
        jobs: &[Value],
        at: Timestamp,
        status: &mut Value,
    ) -> Result<(), Error> {
        let policy = cron_job["spec"]["concurrencyPolicy"].as_str().unwrap_or("Allow");
        let running: Vec<&Value> = jobs.iter().filter(|job| !plan::is_finished(job)).collect();
        if policy == "Forbid" && !running.is_empty() {
            let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
            self.recorder.normal(cron_job, "JobAlreadyActive", text).await;
            return Ok(());
        }
        if policy == "Replace" {
            for job in running {
                let options = DeleteOptions::background().only(meta::uid(job));
                self.jobs.delete_if_exists(&Key::of(job), &options).await?;
                let text = format!("Deleted job {}", meta::name(job));
                self.recorder.normal(cron_job, "SuccessfulDelete", &text).await;
                plan::remove_active(status, job);
            }
        }
        let job = plan::job(cron_job, at);
        let created = match self.jobs.create(&job).await {
            // Made by a pass that was cut off before it wrote the status.
            Err(error) if error.is_already_exists() => self.jobs.get(&Key::of(&job)).await?,
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            Err(error) => {
                let text = format!("Error creating job: {}", error.message());
                self.recorder.warning(cron_job, "FailedCreate", &text).await;
                return Err(error);
            }
            Ok(created) => {
                let text = format!("Created job {}", meta::name(&created));
                self.recorder.normal(cron_job, "SuccessfulCreate", &text).await;
                created
            }
        };
        plan::add_active(status, &created);
        status["lastScheduleTime"] = json!(meta::format_time(at));
        Ok(())
    }

    /// Deletes the oldest finished Jobs beyond the limits kept of each kind.
    async fn trim_history(&self, cron_job: &Value, jobs: &mut Vec<Value>) -> Result<(), Error> {
        for key in plan::superfluous(cron_job, jobs) {
            self.jobs.delete_if_exists(&key, &DeleteOptions::background()).await?;
            self.recorder.normal(cron_job, "SuccessfulDelete", &format!("Deleted job {}", key.name)).await;
            jobs.retain(|job| Key::of(job) != key);
        }
        Ok(())
    }
}
