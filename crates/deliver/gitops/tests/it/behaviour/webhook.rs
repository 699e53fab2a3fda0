//! A webhook as its host sends it.
//!
//! `headers` and `body` are what is sent; `sign` names the header that carries the HMAC-SHA256 of the body and the
//! secret it is made with; `pad` adds so many bytes to the body. The answer has the `status` (200 if none is named) and
//! `says` this.

use bytes::Bytes;
use gitops::{WEBHOOK_PATH, Webhooks};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

pub(super) async fn send(webhooks: &Webhooks, wanted: &Value) -> Result<(), String> {
    let mut body = wanted["body"].clone();
    if let Some(length) = wanted["pad"].as_u64() {
        body["pad"] = "x".repeat(usize::try_from(length).unwrap()).into();
    }
    let body = body.to_string();
    let mut request = Request::post(WEBHOOK_PATH);
    for (name, value) in wanted["headers"].as_object().ok_or("a webhook has headers")? {
        request = request.header(name, value.as_str().unwrap());
    }
    for (name, secret) in wanted["sign"].as_object().into_iter().flatten() {
        request = request.header(name, signature(secret.as_str().unwrap(), &body));
    }
    let response = webhooks.answer(request.body(Full::new(Bytes::from(body))).unwrap()).await;
    let status = u64::from(response.status().as_u16());
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text);
    let says = wanted["says"].as_str().unwrap_or_default();
    if status == wanted["status"].as_u64().unwrap_or(200) && text.contains(says) {
        return Ok(());
    }
    Err(format!("the webhook {wanted} is answered with {status} {text}"))
}

/// As GitHub writes it.
pub(crate) fn signature(secret: &str, body: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}
