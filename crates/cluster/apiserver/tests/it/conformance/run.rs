//! Sends the requests of a case and takes down the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::ConfigExt;
use serde_json::{Value, json};
use tower::util::BoxCloneService;
use tower::{ServiceExt, service_fn};

use super::cases::{Case, Step};
use super::normal::Normal;

/// A watch is over when no event comes for this long.
const QUIET: Duration = Duration::from_millis(400);
/// Time for an answer that is no watch to arrive.
const LONGEST: Duration = Duration::from_secs(10);
/// Time for a request with `await` to succeed.
const PATIENCE: Duration = Duration::from_secs(4);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A server to ask. A `kube::Client` would repeat requests that failed; every answer counts here.
pub(super) type Target = BoxCloneService<Request<Full<Bytes>>, Response<Body>, BoxError>;

/// Our server, in process.
pub(super) fn ours(service: apiserver::LocalService) -> Target {
    BoxCloneService::new(service_fn(move |request: Request<Full<Bytes>>| {
        let sent = service.clone().oneshot(request);
        async move { Ok(sent.await.unwrap_or_else(|never| match never {})) }
    }))
}

/// The server of a kubeconfig.
pub(super) fn remote(config: &kube::Config) -> Target {
    let connector = config.rustls_https_connector().unwrap();
    let base = config.cluster_url.to_string();
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build(connector);
    BoxCloneService::new(service_fn(move |mut request: Request<Full<Bytes>>| {
        let uri = format!("{}{}", base.trim_end_matches('/'), request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        let sent = client.request(request);
        async move {
            let response = sent.await.map_err(BoxError::from)?;
            Ok::<_, BoxError>(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
        }
    }))
}

async fn send(target: &Target, request: Request<Full<Bytes>>) -> Response<Body> {
    let shown = format!("{} {}", request.method(), request.uri());
    let answer = tokio::time::timeout(LONGEST, target.clone().oneshot(request)).await;
    answer.unwrap_or_else(|_| panic!("{shown}: no answer")).unwrap_or_else(|error| panic!("{shown}: {error}"))
}

/// The answers to the requests of a case, normalised.
pub(super) async fn case(target: &Target, case: &Case) -> Vec<Value> {
    let namespace = case.namespace();
    if case.steps.iter().any(|step| step.path.contains("$NS")) {
        set_up(target, &namespace).await;
    }
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    let mut answers = Vec::new();
    for step in &case.steps {
        let mut answer = one(target, step, &namespace, &kept).await;
        if step.option("await").is_some() {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while answer.code >= 300 && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(50)).await;
                answer = one(target, step, &namespace, &kept).await;
            }
        }
        if step.option("await").is_some() {
            assert!(
                answer.code < 300,
                "{}: {}: {}",
                case.name,
                step.line,
                answers.last().unwrap_or(&answer.body)
            );
        }
        for (name, path) in &step.keep {
            let value = at(&answer.body, path);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            kept.insert(name.clone(), text);
        }
        answers.push(answer.shown(step, &Normal::new(&kept)));
    }
    answers
}

/// The namespace of a case, with the service account that its Pods need.
async fn set_up(target: &Target, namespace: &str) {
    let post = |path: String, object: Value| {
        let request = Request::post(path).header("content-type", "application/json");
        send(target, request.body(Full::from(object.to_string())).unwrap())
    };
    let made = post("/api/v1/namespaces".to_owned(), json!({"metadata": {"name": namespace}})).await;
    assert!(made.status().is_success(), "create namespace {namespace}: {}", made.status());
    // It may be there already, where a controller was faster.
    drop(
        post(
            format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            json!({"metadata": {"name": "default"}}),
        )
        .await,
    );
}

struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Value,
}

/// Fills in `$NAME`s, longest first so that no name is taken for the start of another.
fn fill(text: &str, namespace: &str, kept: &BTreeMap<String, String>) -> String {
    let mut filled = text.replace("$NS", namespace);
    let mut names: Vec<_> = kept.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, value) in names {
        filled = filled.replace(&format!("${name}"), value);
    }
    filled
}

async fn one(target: &Target, step: &Step, namespace: &str, kept: &BTreeMap<String, String>) -> Answer {
    let path = fill(&step.path, namespace, kept);
    let mut request =
        Request::builder().method(step.method.as_str()).uri(path).header("user-agent", "suite/1");
    let body = fill(&step.body, namespace, kept);
    let media = match step.option("type") {
        None => "application/json",
        Some("merge") => "application/merge-patch+json",
        Some("json") => "application/json-patch+json",
        Some("strategic") => "application/strategic-merge-patch+json",
        Some("apply") => "application/apply-patch+yaml",
        Some(other) => other,
    };
    if !body.is_empty() {
        request = request.header("content-type", media);
    }
    if let Some(accept) = step.option("accept") {
        request = request.header(
            "accept",
            match accept {
                "table" => "application/json;as=Table;v=v1;g=meta.k8s.io",
                "metadata" => "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                "metadatalist" => "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
                "yaml" => "application/yaml",
                other => other,
            },
        );
    }
    if let Some(user) = step.option("as") {
        request = request.header("impersonate-user", user);
        for group in step.option("groups").into_iter().flat_map(|groups| groups.split(',')) {
            request = request.header("impersonate-group", group);
        }
    }
    let bytes = if body.is_empty() || step.option("raw").is_some() {
        body.into_bytes()
    } else {
        let value = yaml::from_str(&body).unwrap_or_else(|error| panic!("{}: {error}", step.line));
        value.to_string().into_bytes()
    };
    let (head, body) = send(target, request.body(Full::from(bytes)).unwrap()).await.into_parts();
    let body = match step.option("watch") {
        Some(count) if head.status.is_success() => events(body, count.parse().unwrap()).await,
        _ => {
            let whole = tokio::time::timeout(LONGEST, body.collect()).await;
            let bytes = whole.unwrap_or_else(|_| panic!("{} does not end", step.line)).unwrap().to_bytes();
            serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
        }
    };
    Answer { code: head.status.as_u16(), headers: head.headers, body }
}

/// Events as they come, until there are enough or no more.
async fn events(mut body: Body, count: usize) -> Value {
    let mut bytes = Vec::new();
    let whole = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    while whole(&bytes) < count {
        match tokio::time::timeout(QUIET, body.frame()).await {
            Ok(Some(frame)) => bytes.extend_from_slice(&frame.unwrap().into_data().unwrap_or_default()),
            Ok(None) | Err(_) => break,
        }
    }
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()).collect()
}

/// The value at a dotted path; numbers index lists.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, part| match part.parse::<usize>() {
        Ok(index) if value.is_array() => &value[index],
        _ => &value[part],
    })
}

impl Answer {
    fn shown(self, step: &Step, normal: &Normal) -> Value {
        if step.option("quiet").is_some() {
            let failed = (self.code >= 300).then(|| normal.value(self.body));
            return json!({"code": self.code, "failed": failed});
        }
        let text =
            |name: &str| self.headers.get(name).map(|value| value.to_str().unwrap_or_default().to_owned());
        let warnings: Vec<&str> =
            self.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok()).collect();
        let body = match step.option("show") {
            None => self.body,
            Some(paths) => {
                paths.split(',').map(|path| (path.to_owned(), at(&self.body, path).clone())).collect()
            }
        };
        let mut shown = json!({"code": self.code, "type": text("content-type"), "body": body});
        if !warnings.is_empty() {
            shown["warnings"] = warnings.into();
        }
        if let Some(after) = text("retry-after") {
            shown["retryAfter"] = after.into();
        }
        normal.value(shown)
    }
}
