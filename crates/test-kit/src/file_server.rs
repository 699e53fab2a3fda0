//! An HTTP server of a directory, as chart repositories are served.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A directory served on a loopback port until this value is dropped.
#[derive(Debug)]
pub struct FileServer {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    broken: Arc<Mutex<Option<Broken>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFault {
    /// Shorter than its length says.
    Short,
    /// In chunks, of which the last one never comes.
    Chunked,
    /// Without a word of its length, as if that were the end.
    Unsaid,
}

/// Answers that break off.
#[derive(Debug, Clone)]
struct Broken {
    /// How their paths end.
    suffix: String,
    fault: FileFault,
    /// So many bytes arrive.
    keep: usize,
}

/// How a [`FileServer`] answers.
#[derive(Debug, Clone, Default)]
pub struct Serving {
    pub tls: Option<Arc<ServerConfig>>,
    /// The value of `Authorization` without which nothing is given out.
    pub authorization: Option<String>,
    /// Where everything is redirected to: the request's path is appended.
    pub redirect: Option<String>,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    pub status: u16,
    pub authorization: Option<String>,
}

impl FileServer {
    /// # Panics
    /// If no port can be had.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        Self::serving(directory, Serving::default())
    }

    /// # Panics
    /// If no port can be had.
    #[must_use]
    pub fn serving(directory: &Path, serving: Serving) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let scheme = if serving.tls.is_some() { "https" } else { "http" };
        let (seen, broken, stop) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let server = Server {
            directory: directory.to_owned(),
            serving,
            seen: Arc::clone(&seen),
            broken: Arc::clone(&broken),
        };
        let (server, stopped) = (Arc::new(server), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let server = Arc::clone(&server);
                // A client that breaks off concerns its own test.
                std::thread::spawn(move || server.connection(stream).ok());
            }
        });
        Self { address, scheme, seen, broken, stop, thread: Some(thread) }
    }

    /// Without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// From now on what a path of this end leads to breaks off after so many bytes.
    pub fn break_off(&self, suffix: &str, fault: FileFault, keep: usize) {
        let broken = Broken { suffix: suffix.to_owned(), fault, keep };
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(broken);
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The requests answered so far, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often a path was answered with a status.
    #[must_use]
    pub fn count(&self, path: &str, status: u16) -> usize {
        self.seen().iter().filter(|seen| seen.path == path && seen.status == status).count()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Server {
    directory: PathBuf,
    serving: Serving,
    seen: Arc<Mutex<Vec<Seen>>>,
    broken: Arc<Mutex<Option<Broken>>>,
}

impl Server {
    fn connection(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        match &self.serving.tls {
            None => self.answer(stream),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
                self.answer(StreamOwned::new(connection, stream))
            }
        }
    }

    /// One request a connection.
    fn answer(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let mut reader = BufReader::new(&mut stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            lines.iter().skip(1).find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let target = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("/").to_owned();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let authorization = header("authorization");
        let content = self.content(&path);
        let etag = content.as_deref().map(etag).unwrap_or_default();
        let wanted = &self.serving.authorization;
        let (status, more, body): (u16, String, &[u8]) = match &content {
            _ if self.serving.redirect.is_some() => {
                let to = self.serving.redirect.as_deref().unwrap_or_default();
                (302, format!("Location: {to}{target}\r\n"), &[])
            }
            _ if wanted.is_some() && authorization != *wanted => (401, String::new(), b"no"),
            None => (404, String::new(), b"nothing here"),
            Some(_) if header("if-none-match").is_some_and(|known| known == etag) => {
                (304, String::new(), &[])
            }
            Some(content) => (200, format!("ETag: {etag}\r\n"), content),
        };
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let broken = broken.filter(|broken| status == 200 && path.ends_with(&broken.suffix));
        let sent = broken.as_ref().map_or(body, |broken| &body[..broken.keep.min(body.len())]);
        let framing = match broken.map(|broken| broken.fault) {
            None | Some(FileFault::Short) => format!("Content-Length: {}\r\n\r\n", body.len()),
            Some(FileFault::Chunked) => {
                format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", sent.len())
            }
            Some(FileFault::Unsaid) => "\r\n".to_owned(),
        };
        let head = format!("HTTP/1.1 {status} {}\r\nConnection: close\r\n{more}{framing}", reason(status));
        let seen = Seen { path, status, authorization };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        stream.write_all(head.as_bytes())?;
        stream.write_all(sent)?;
        stream.flush()
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        let name = path.trim_start_matches('/');
        let inside = !name.split('/').any(|part| part == "..");
        std::fs::read(self.directory.join(name)).ok().filter(|_| inside)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        304 => "Not Modified",
        401 => "Unauthorized",
        _ => "Not Found",
    }
}

/// The length and a sum: enough to notice that a test changed a file.
fn etag(content: &[u8]) -> String {
    let sum = content.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("\"{}-{sum:x}\"", content.len())
}
