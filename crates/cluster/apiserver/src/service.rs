//! The server as a tower service: what a client in the same process talks to instead of a socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::Service;

use crate::authn::Peer;
use crate::core::Core;
use crate::http::ApiBody;
use crate::http::body::boxed;
use crate::serve;
use crate::user::User;

/// Answers requests of one user in process. Authorization and admission are on, as over a socket.
#[derive(Debug, Clone)]
pub struct LocalService {
    core: Arc<Core>,
    peer: Peer,
}

impl LocalService {
    pub(crate) fn new(core: Arc<Core>, user: User) -> LocalService {
        LocalService { core, peer: Peer::Trusted(user) }
    }
}

impl<B> Service<Request<B>> for LocalService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ApiBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<ApiBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (core, peer) = (self.core.clone(), self.peer.clone());
        let request = request.map(boxed);
        Box::pin(async move { Ok(serve::handle(core, request, &peer).await) })
    }
}
