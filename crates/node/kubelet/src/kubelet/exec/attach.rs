//! A container's own input and output.

use containers::{AttachedInput, AttachedOutput, Attachment, Piece};
use futures::{SinkExt as _, StreamExt as _};
use link::{Input, LinkError, Output, Session};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::{QUEUE, tokio_stream};

/// The attachment with channels for its ends. The tasks end with the container, or when their users have gone.
pub(super) fn connected(attachment: Attachment, with_input: bool) -> Session {
    let Attachment { input, output } = attachment;
    let (sender, commands) = mpsc::channel(QUEUE);
    let (events, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        // The input is open for as long as somebody listens, whether or not they write.
        tokio::select! {
            () = feed(input, commands, with_input) => {}
            () = read(output, events) => {}
        }
    });
    let gone = |_| LinkError::Exec { message: "the container has ended".to_owned() };
    Session {
        input: Box::pin(PollSender::new(sender).sink_map_err(gone)),
        output: tokio_stream(receiver).boxed(),
    }
}

/// Never ends: what is written is over long before what is read.
async fn feed(mut input: AttachedInput, mut commands: mpsc::Receiver<Input>, with_input: bool) {
    while let Some(command) = commands.recv().await {
        let sent = match command {
            Input::Bytes(bytes) if with_input => input.write_all(&bytes).await,
            Input::End if with_input => input.finish().await,
            Input::Bytes(_) | Input::End => Ok(()),
            Input::Resize { columns, rows } => input.resize(columns, rows).await,
        };
        if let Err(error) = sent {
            tracing::debug!(error = %error, "a container takes no more input");
            break;
        }
    }
    // The client's own end is not the end of its listening; only of a session that is over does nobody listen.
    std::future::pending::<()>().await;
}

async fn read(mut output: AttachedOutput, events: mpsc::Sender<Result<Output, LinkError>>) {
    loop {
        let next = tokio::select! {
            next = output.next() => next,
            () = events.closed() => return,
        };
        let event = match next {
            Ok(Some(Piece::Stdout(bytes))) => Ok(Output::Stdout(bytes.into())),
            Ok(Some(Piece::Stderr(bytes))) => Ok(Output::Stderr(bytes.into())),
            // How the container ended is in the Pod's status, where clients look for it.
            Ok(None) => Ok(Output::Ended(0)),
            Err(error) => Err(LinkError::Exec { message: error.to_string() }),
        };
        let last = !matches!(event, Ok(Output::Stdout(_) | Output::Stderr(_)));
        if events.send(event).await.is_err() || last {
            return;
        }
    }
}
