//! Git's smart HTTP protocol for libgit2, spoken by our own HTTP client.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};

use crate::{PlainHttp, http, lock};

/// What one fetch may use: set for the thread that fetches, because libgit2 makes its transports from a URL alone.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) agent: ureq::Agent,
    pub(crate) authorization: Option<String>,
    pub(crate) plain_http: PlainHttp,
    /// Bytes that may still be received.
    pub(crate) budget: Arc<AtomicU64>,
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Runs `work` with this session for all transports it makes on this thread.
pub(crate) fn with_session<T>(session: Session, work: impl FnOnce() -> T) -> T {
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            SESSION.set(None);
        }
    }
    SESSION.set(Some(session));
    let _clear = Clear;
    work()
}

/// Sets libgit2 up for this process, once.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(global::set_up);
}

#[expect(unsafe_code, reason = "libgit2 keeps its transports and options in globals")]
mod global {
    /// Bytes of a directory's object: some 100,000 names.
    const TREE_LIMIT: usize = 4 << 20;

    pub(super) fn set_up() {
        for scheme in ["https", "http"] {
            // SAFETY: `prepare` calls this once, before the first repository is opened, and nothing else in the
            // process registers transports, so no two registrations run at the same time.
            let registered = unsafe { git2::transport::register(scheme, super::transport) };
            if let Err(error) = registered {
                tracing::warn!(scheme, %error, "cannot register the transport");
            }
        }
        // The person who starts us names the repository, often as root for one of their own user's. We read objects
        // and files and run nothing that its configuration names.
        //
        // SAFETY: the option is a plain integer in libgit2, set before the first repository is opened.
        let set = unsafe { git2::opts::set_verify_owner_validation(false) };
        if let Err(error) = set {
            tracing::warn!(%error, "cannot allow repositories of other users");
        }
        // libgit2 keeps only small trees; a directory of thousands of names would be unpacked for every file below it.
        //
        // SAFETY: as above.
        let set = unsafe { git2::opts::set_cache_object_limit(git2::ObjectType::Tree, TREE_LIMIT) };
        if let Err(error) = set {
            tracing::warn!(%error, "cannot keep large directories in memory");
        }
    }
}

fn transport(remote: &git2::Remote<'_>) -> Result<Transport, git2::Error> {
    let session = SESSION.with_borrow(Clone::clone);
    let session = session.ok_or_else(|| git2::Error::from_str("no fetch was started on this thread"))?;
    Transport::smart(remote, true, Http { session, base: Arc::default() })
}

struct Http {
    session: Session,
    /// The repository's URL after the redirects of the first request.
    base: Arc<Mutex<Option<String>>>,
}

impl SmartSubtransport for Http {
    fn action(&self, url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match action {
            Service::UploadPackLs => {
                let (body, base) = self.advertise(url).map_err(|reason| git2::Error::from_str(&reason))?;
                *lock(&self.base) = Some(base);
                Ok(Box::new(Exchange::Answer(body)))
            }
            Service::UploadPack => {
                let base = lock(&self.base).clone().unwrap_or_else(|| url.to_owned());
                let mut session = self.session.clone();
                session.authorization = self.authorization_for(url, &base).map(str::to_owned);
                Ok(Box::new(Exchange::Request { session, base, body: Vec::new() }))
            }
            Service::ReceivePackLs | Service::ReceivePack => {
                Err(git2::Error::from_str("pushing is not supported yet"))
            }
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

const ADVERTISEMENT: &str = "/info/refs?service=git-upload-pack";

impl Http {
    /// Asks for the references, following redirects; gives the answer and the URL that gave it.
    fn advertise(&self, url: &str) -> Result<(Answer, String), String> {
        let mut target = format!("{}{ADVERTISEMENT}", url.trim_end_matches('/'));
        for _ in 0..=http::MAX_REDIRECTS {
            let mut request = self.session.agent.get(&target).header("accept", "*/*");
            if let Some(authorization) = self.authorization_for(url, &target) {
                request = request.header("authorization", authorization);
            }
            let response = request.call().map_err(|error| http::reason(&error))?;
            let status = response.status().as_u16();
            if (300..400).contains(&status) {
                let location = response.headers().get("location").and_then(|value| value.to_str().ok());
                let location = location.ok_or("it redirects without saying where")?;
                target = http::redirected(&target, location, self.session.plain_http)?;
                continue;
            }
            check_status(status)?;
            let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
            if kind.is_none_or(|kind| !kind.starts_with("application/x-git-upload-pack-advertisement")) {
                return Err("it is not a Git repository".to_owned());
            }
            let base = target.strip_suffix(ADVERTISEMENT).ok_or("it redirects to something else")?.to_owned();
            return Ok((Answer::new(response, &self.session), base));
        }
        Err("it redirects too often".to_owned())
    }

    fn authorization_for(&self, url: &str, target: &str) -> Option<&str> {
        let authorization = self.session.authorization.as_deref()?;
        (http::origin_of(url) == http::origin_of(target)).then_some(authorization)
    }
}

fn check_status(status: u16) -> Result<(), String> {
    match status {
        200 => Ok(()),
        401 | 403 => Err("authentication required or refused".to_owned()),
        404 | 410 => Err("repository not found".to_owned()),
        status => Err(format!("it answers with status {status}")),
    }
}

/// A request that is sent when its answer is first read.
enum Exchange {
    Request { session: Session, base: String, body: Vec<u8> },
    Answer(Answer),
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Request { session, base, body } = self {
            let answer = post(session, base, body)?;
            *self = Self::Answer(answer);
        }
        match self {
            Self::Answer(answer) => answer.read(buffer),
            Self::Request { .. } => Ok(0),
        }
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Request { body, .. } => body.write(bytes),
            Self::Answer(_) => Err(io::Error::other("the request was already sent")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn post(session: &Session, base: &str, body: &[u8]) -> io::Result<Answer> {
    let mut request = session
        .agent
        .post(format!("{base}/git-upload-pack"))
        .header("content-type", "application/x-git-upload-pack-request")
        .header("accept", "application/x-git-upload-pack-result");
    if let Some(authorization) = &session.authorization {
        request = request.header("authorization", authorization);
    }
    let response = request.send(body).map_err(|error| io::Error::other(http::reason(&error)))?;
    check_status(response.status().as_u16()).map_err(io::Error::other)?;
    Ok(Answer::new(response, session))
}

/// A body that counts against the session's budget.
struct Answer {
    reader: ureq::BodyReader<'static>,
    budget: Arc<AtomicU64>,
}

impl Answer {
    fn new(response: ureq::http::Response<ureq::Body>, session: &Session) -> Self {
        Self { reader: response.into_body().into_reader(), budget: Arc::clone(&session.budget) }
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let spend = |left: u64| left.checked_sub(read as u64);
        match self.budget.fetch_update(Ordering::AcqRel, Ordering::Acquire, spend) {
            Ok(_) => Ok(read),
            Err(_) => Err(io::Error::other("it is larger than allowed")),
        }
    }
}
