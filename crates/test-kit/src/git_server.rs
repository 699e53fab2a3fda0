//! Repositories over HTTP, by Git's own backend.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// A server of every repository below a directory, on a free port of this machine.
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    troubled: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the server wants and does besides serving.
#[derive(Debug, Clone, Default)]
pub struct GitManner {
    /// The value of the header without which nothing is served.
    pub authorization: Option<String>,
    /// Requests below `/moved/` are redirected here.
    pub moved_to: Option<String>,
    /// What goes wrong until [`GitServer::end_trouble`].
    pub trouble: Option<GitTrouble>,
}

/// An answer that goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct GitTrouble {
    pub how: GitFault,
    /// Whether it is the list of references; otherwise it is the pack.
    pub advertised: bool,
}

/// How an answer goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum GitFault {
    /// It breaks off in the middle.
    Half,
    /// It is as long as it should be, and nothing that can be read from its middle on.
    Garbage,
    /// It never comes.
    Silence,
    Status(u16),
}

impl GitServer {
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn start(root: &Path, manner: GitManner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let requests = Arc::new(AtomicUsize::new(0));
        let troubled = Arc::new(AtomicBool::new(manner.trouble.is_some()));
        let stop = Arc::new(AtomicBool::new(false));
        let (root, counter, stopping) = (root.to_owned(), Arc::clone(&requests), Arc::clone(&stop));
        let trouble = Arc::clone(&troubled);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                let (root, mut manner) = (root.clone(), manner.clone());
                if !trouble.load(Ordering::Acquire) {
                    manner.trouble = None;
                }
                std::thread::spawn(move || answer(stream, &root, &manner));
            }
        });
        Self { address, requests, troubled, stop, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`; below it are the paths of the directory, `/.git` for a working copy's repository.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on all goes well.
    pub fn end_trouble(&self) {
        self.troubled.store(false, Ordering::Release);
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it, so that it sees that it is to end.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A client that breaks off is its own affair.
fn answer(mut stream: TcpStream, root: &Path, manner: &GitManner) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length =
        headers.get("content-length").map_or(0, |length| length.parse().expect("a length is a number"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let (Some(to), Some(rest)) = (&manner.moved_to, path.strip_prefix("/moved/")) {
        let head = format!(
            "HTTP/1.1 301 Moved\r\nlocation: {to}/{rest}?{query}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        return stream.write_all(head.as_bytes());
    }
    if manner.authorization.is_some() && headers.get("authorization") != manner.authorization.as_ref() {
        return stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let advertises = path.ends_with("/info/refs");
    let fault = manner.trouble.filter(|trouble| trouble.advertised == advertises).map(|trouble| trouble.how);
    match fault {
        Some(GitFault::Status(status)) => {
            let head = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return stream.write_all(head.as_bytes());
        }
        // Ends when whoever asks gives up.
        Some(GitFault::Silence) => return reader.read_to_end(&mut Vec::new()).map(drop),
        Some(GitFault::Half | GitFault::Garbage) | None => {}
    }
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", headers.get("content-type").map_or("", String::as_str))
        .env("CONTENT_LENGTH", length.to_string())
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().expect("its input is piped").write_all(&body)?;
    let output = child.wait_with_output()?.stdout;
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").expect("it answers with a head");
    let head = String::from_utf8_lossy(&output[..split]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let mut answer = format!("HTTP/1.1 {status}\r\n");
    for line in head.lines().filter(|line| !line.starts_with("Status:")) {
        answer.push_str(line);
        answer.push_str("\r\n");
    }
    let mut content = output[split + 4..].to_vec();
    answer.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", content.len()));
    let half = content.len() / 2;
    match fault {
        Some(GitFault::Half) => content.truncate(half),
        Some(GitFault::Garbage) => content[half..].fill(b'x'),
        _ => {}
    }
    stream.write_all(answer.as_bytes())?;
    stream.write_all(&content)
}
