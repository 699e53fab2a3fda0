//! Requests and responses, before and after they mean anything.

pub(crate) mod body;
pub(crate) mod negotiate;
pub(crate) mod request;
pub(crate) mod spdy;
mod upgrade;
pub(crate) mod websocket;

pub(crate) use body::ApiBody;
pub(crate) use negotiate::{Encoding, Shape};
pub(crate) use request::{Query, RequestInfo, Verb};
