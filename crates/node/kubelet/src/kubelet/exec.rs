//! Commands that somebody runs in a container, and containers that somebody talks with.

mod attach;

use std::sync::Arc;

use bytes::Bytes;
use client::chain;
use containers::SessionRequest;
use futures::{SinkExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{Container, Pod};
use link::{AttachRequest, ExecRequest, Input, LinkError, Output, Session};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, PollSender};

use super::{Handle, Kubelet, lock};
use crate::{pod, records};

/// Messages that wait in either direction.
const QUEUE: usize = 8;
/// Bytes read from the command at once.
const CHUNK: usize = 32 << 10;

impl Kubelet {
    /// The Pod of that name and its latest state.
    pub(super) fn find(&self, namespace: &str, name: &str) -> Result<(Handle, Arc<Pod>), LinkError> {
        let missing = || LinkError::PodNotFound { pod: name.to_owned() };
        let handle = lock(&self.inner.pods)
            .handles
            .values()
            .find(|handle| handle.id.namespace == namespace && handle.id.name == name)
            .cloned()
            .ok_or_else(missing)?;
        let latest = handle.mailbox.latest().ok_or_else(missing)?;
        Ok((handle, latest))
    }

    pub(super) async fn run_command(&self, request: ExecRequest) -> Result<Session, LinkError> {
        let (id, _) = self.newest(&request.namespace, &request.pod, &request.container).await?;
        let asked = SessionRequest { args: request.command, input: request.stdin, terminal: request.tty };
        let session = self.inner.shared.runtime().session(&id, asked).await;
        let session = session.map_err(|error| failed(&error, &request.container))?;
        Ok(connected(session, request.container))
    }

    pub(super) async fn attach_to(&self, request: AttachRequest) -> Result<Session, LinkError> {
        let AttachRequest { namespace, pod, container, stdin } = request;
        let (id, spec) = self.newest(&namespace, &pod, &container).await?;
        if spec.stdin != Some(true) && spec.tty != Some(true) {
            return Ok(link::listening(self.open_log(link::following(&namespace, &pod, &container)).await?));
        }
        let attachment = self.inner.shared.runtime().attach_to(&id).await;
        let attachment = attachment.map_err(|error| failed(&error.into(), &container))?;
        Ok(attach::connected(attachment, stdin && spec.stdin == Some(true)))
    }

    /// The newest instance of a container, and what the Pod says of it.
    async fn newest(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<(String, Container), LinkError> {
        let (handle, latest) = self.find(namespace, pod)?;
        let Some((_, spec)) = pod::container(&latest, container) else {
            let (pod, container) = (pod.to_owned(), container.to_owned());
            return Err(LinkError::ContainerNotFound { pod, container });
        };
        let dir = self.inner.shared.pod_dir(&handle.id.uid);
        let instances =
            tokio::task::spawn_blocking(move || records::instances(&dir)).await.unwrap_or_default();
        let newest = instances.into_iter().filter(|(name, _, _)| name == container).map(|(_, n, _)| n).max();
        let missing = || LinkError::NotRunning { container: container.to_owned() };
        let id = records::container_id(&handle.id.uid, container, newest.ok_or_else(missing)?);
        Ok((id, spec.clone()))
    }
}

fn failed(error: &containers::ExecError, container: &str) -> LinkError {
    match error {
        containers::ExecError::Container(_) => LinkError::NotRunning { container: container.to_owned() },
        other => LinkError::Exec { message: chain(other).to_string() },
    }
}

/// The session with channels for its ends. The task ends with the command, or when both its users have gone.
fn connected(session: containers::Session, container: String) -> Session {
    let (input, commands) = mpsc::channel(QUEUE);
    let (events, output) = mpsc::channel(QUEUE);
    tokio::spawn(run(session, container, commands, events));
    let gone = |_| LinkError::Exec { message: "the command has ended".to_owned() };
    Session {
        input: Box::pin(PollSender::new(input).sink_map_err(gone)),
        output: tokio_stream(output).boxed(),
    }
}

fn tokio_stream<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

async fn run(
    session: containers::Session,
    container: String,
    mut commands: mpsc::Receiver<Input>,
    events: mpsc::Sender<Result<Output, LinkError>>,
) {
    let containers::Session { input, stdout, stderr, terminal, mut ended } = session;
    let feeding = async {
        let mut input = input;
        while let Some(command) = commands.recv().await {
            match command {
                Input::Bytes(bytes) => {
                    if let Some(open) = &mut input
                        && open.write_all(&bytes).await.is_err()
                    {
                        // The command does not read any more; what comes is of no use to it.
                        input = None;
                    }
                }
                Input::End => {
                    if let Some(open) = input.take() {
                        drop(open.finish().await);
                    }
                }
                Input::Resize { columns, rows } => {
                    if let Some(terminal) = &terminal
                        && let Err(error) = terminal.resize(columns, rows)
                    {
                        tracing::debug!(error = %error, "could not set a terminal's size");
                    }
                }
            }
        }
    };
    let over = CancellationToken::new();
    let reading = async {
        let second = async {
            match stderr {
                Some(stderr) => copy(stderr, &events, Output::Stderr, &over).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(copy(stdout, &events, Output::Stdout, &over), second)
    };
    tokio::pin!(feeding, reading);
    let mut fed = false;
    let all_read = loop {
        tokio::select! {
            () = &mut feeding, if !fed => fed = true,
            read = &mut reading => break read.is_ok(),
            () = events.closed() => return,
            code = ended.wait() => {
                over.cancel();
                // An error is nobody who listens, whom the end does not interest either.
                if reading.await.is_ok() {
                    finish(code, &container, &events).await;
                }
                return;
            }
        }
    };
    if !all_read {
        return;
    }
    let code = tokio::select! {
        code = ended.wait() => code,
        () = events.closed() => return,
    };
    finish(code, &container, &events).await;
}

/// Time without output after the command has ended until there is taken to be no more.
const SILENCE: std::time::Duration = std::time::Duration::from_millis(500);
/// Bytes that are read after the command has ended: more than a pipe holds.
const LAST_WORDS: usize = 1 << 20;

async fn finish(
    code: Result<i32, containers::ExecError>,
    container: &str,
    events: &mpsc::Sender<Result<Output, LinkError>>,
) {
    let last = code.map(Output::Ended).map_err(|error| failed(&error, container));
    // If nobody listens any more, nobody needs to know.
    drop(events.send(last).await);
}

/// Gives on what the command writes; an error means that nobody listens any more. When the command is over, what it wrote
/// last is still in the pipe, and is given on however slowly it is taken; what it left running may hold the pipe open, and
/// write to it, for ever.
async fn copy(
    mut from: containers::Output,
    events: &mpsc::Sender<Result<Output, LinkError>>,
    kind: fn(Bytes) -> Output,
    over: &CancellationToken,
) -> Result<(), ()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = LAST_WORDS;
    while left > 0 {
        let silence = async {
            over.cancelled().await;
            tokio::time::sleep(SILENCE).await;
        };
        let read = tokio::select! {
            biased;
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = silence => 0,
        };
        if read == 0 {
            break;
        }
        if over.is_cancelled() {
            left = left.saturating_sub(read);
        }
        events.send(Ok(kind(Bytes::copy_from_slice(&buffer[..read])))).await.map_err(drop)?;
    }
    Ok(())
}
