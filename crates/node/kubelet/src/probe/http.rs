//! HTTP(S) probes and hooks.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Answer, OUTPUT_LIMIT, connect_error, tls};

/// Followed before a probe gives up, as Go's client does.
const MAX_REDIRECTS: usize = 10;

/// A GET request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    https: bool,
    address: SocketAddr,
    /// Path and query.
    target: String,
    headers: Vec<(String, String)>,
    problem: Option<String>,
}

/// The answer, as far as a probe cares.
struct Response {
    status: u16,
    location: Option<String>,
    body: Bytes,
}

impl Request {
    /// From the specification; a host name in it is not looked up.
    pub(super) fn new(get: &HTTPGetAction, ip: IpAddr, port: u16) -> Request {
        let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let host = get.host.as_deref().filter(|host| !host.is_empty());
        let (ip, problem) = match host.map(str::parse::<IpAddr>) {
            None => (ip, None),
            Some(Ok(ip)) => (ip, None),
            Some(Err(_)) => {
                (ip, Some("an httpGet host that is not an address is not supported yet".to_owned()))
            }
        };
        Request {
            https: get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS")),
            address: SocketAddr::new(ip, port),
            target: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers: get
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
            problem,
        }
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, self.address, self.target)
    }

    /// Asks; any status from 200 to 399 is a success.
    pub(super) async fn run(&self, timeout: Duration) -> Answer {
        if let Some(problem) = &self.problem {
            return Answer::Failure(problem.clone());
        }
        match tokio::time::timeout(timeout, self.follow()).await {
            Ok(answer) => answer,
            Err(_) => Answer::Failure(format!(
                "Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                self.url()
            )),
        }
    }

    async fn follow(&self) -> Answer {
        let mut request = self.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = match request.send().await {
                Ok(response) => response,
                Err(problem) => return Answer::Failure(format!("Get \"{}\": {problem}", request.url())),
            };
            match response.location.filter(|_| (300..400).contains(&response.status)) {
                Some(location) => match request.redirected(&location) {
                    Some(next) => request = next,
                    // Elsewhere: the kubelet does not go there and takes the redirect for a success.
                    None => return Answer::Success,
                },
                None if (200..400).contains(&response.status) => return Answer::Success,
                None => {
                    tracing::debug!(
                        url = request.url(),
                        body = response.body.len(),
                        "a probe's answer is an error"
                    );
                    return Answer::Failure(format!(
                        "HTTP probe failed with statuscode: {}",
                        response.status
                    ));
                }
            }
        }
        Answer::Failure(format!("Get \"{}\": stopped after {MAX_REDIRECTS} redirects", self.url()))
    }

    /// The next request when it stays on the same host.
    fn redirected(&self, location: &str) -> Option<Request> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Request { target: location.to_owned(), ..self.clone() });
        }
        let uri: http::Uri = location.parse().ok()?;
        let https = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        if uri.host()?.trim_matches(['[', ']']).parse() != Ok(self.address.ip()) {
            return None;
        }
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let target = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Some(Request { https, address: SocketAddr::new(self.address.ip(), port), target, ..self.clone() })
    }

    async fn send(&self) -> Result<Response, String> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| format!("dial tcp {}: {}", self.address, connect_error(&error)))?;
        if self.https {
            let stream = tls::connect(stream, self.address.ip()).await.map_err(|error| error.to_string())?;
            self.exchange(stream).await
        } else {
            self.exchange(stream).await
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Response, String> {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let request = self.build()?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            let location = response
                .headers()
                .get(http::header::LOCATION)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            // The body is read so that the server is not cut off in the middle of it, up to a limit.
            let body = Limited::new(response.into_body(), OUTPUT_LIMIT).collect().await;
            Ok(Response {
                status,
                location,
                body: body.map(http_body_util::Collected::to_bytes).unwrap_or_default(),
            })
        };
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        // The connection makes progress only while it is polled, and ends with the answer.
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }

    fn build(&self) -> Result<http::Request<Empty<Bytes>>, String> {
        let has = |name: &str| self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
        let mut builder = http::Request::get(&self.target);
        for (name, default) in [
            ("Host", self.address.to_string()),
            ("User-Agent", "kube-probe/1.34".to_owned()),
            ("Accept", "*/*".to_owned()),
        ] {
            if !has(name) {
                builder = builder.header(name, default);
            }
        }
        builder = builder.header("Connection", "close");
        for (name, value) in &self.headers {
            // An empty value takes a default header away.
            if !value.is_empty() {
                builder = builder.header(name, value);
            }
        }
        builder.body(Empty::new()).map_err(|error| error.to_string())
    }
}
