//! Git's own HTTP backend behind a small server on a free port.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) struct Backend {
    pub(crate) base: String,
    pub(crate) requests: Arc<AtomicUsize>,
}

/// What the server wants and does besides serving.
#[derive(Clone, Default)]
pub(crate) struct Manner {
    pub(crate) authorization: Option<String>,
    /// Requests below `/moved/` are redirected here.
    pub(crate) moved_to: Option<String>,
}

pub(crate) fn serve(root: &Path, manner: Manner) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let (root, counter) = (root.to_owned(), Arc::clone(&requests));
    // Ends with the test process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
            let (root, manner) = (root.clone(), manner.clone());
            std::thread::spawn(move || answer(stream, &root, &manner));
        }
    });
    Backend { base, requests }
}

fn answer(stream: TcpStream, root: &PathBuf, manner: &Manner) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut stream = stream;
    if let (Some(to), Some(rest)) = (&manner.moved_to, path.strip_prefix("/moved/")) {
        let head = format!(
            "HTTP/1.1 301 Moved\r\nlocation: {to}/{rest}?{query}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        return;
    }
    if manner.authorization.is_some() && headers.get("authorization") != manner.authorization.as_ref() {
        stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        return;
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
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&output[..split]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let mut answer = format!("HTTP/1.1 {status}\r\n");
    for line in head.lines().filter(|line| !line.starts_with("Status:")) {
        answer.push_str(line);
        answer.push_str("\r\n");
    }
    let content = &output[split + 4..];
    answer.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", content.len()));
    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(content));
}
