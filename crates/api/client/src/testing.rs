//! A client whose server is a closure.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A client whose every request is answered by `serve`.
pub(crate) fn client(serve: impl Fn(&Request<Body>) -> Answer + Clone + Send + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = serve(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    Client::new(service, "default")
}

/// An answer with a JSON body.
pub(crate) fn json(code: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    Response::builder().status(code).body(body).expect("a valid answer")
}

/// An answer that streams what the channel brings and ends with it.
pub(crate) fn stream(receiver: tokio::sync::mpsc::UnboundedReceiver<String>) -> Answer {
    let frames = futures::stream::unfold(receiver, |mut receiver| async move {
        let text = receiver.recv().await?;
        Some((Ok(http_body::Frame::data(Bytes::from(text))), receiver))
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// What a client receives when it is answered `answer`: status code and body.
pub(crate) async fn client_body(answer: Answer) -> (u16, Body) {
    let slot = std::sync::Arc::new(std::sync::Mutex::new(Some(answer)));
    let client = client(move |_| slot.lock().expect("no panic while held").take().expect("asked once"));
    let request = Request::get("/").body(Body::empty()).expect("a valid request");
    let response = client.send(request).await.expect("the closure answers");
    (response.status().as_u16(), response.into_body())
}
