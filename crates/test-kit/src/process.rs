//! Real servers as child processes.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::eventually;

/// A child process that is killed and waited for when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a server and waits until it accepts connections on `port` of the loopback address. What it prints
    /// goes to `log`.
    ///
    /// # Panics
    /// If it cannot be started, ends, or does not listen within 30 s; the text holds its output.
    #[must_use]
    pub fn serving(command: &mut Command, port: u16, log: &Path) -> Self {
        let output =
            std::fs::File::create(log).unwrap_or_else(|error| panic!("create {}: {error}", log.display()));
        let errors = output.try_clone().expect("a second handle of the log");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let mut process = Self { child };
        eventually(&format!("{command:?} listens on port {port}"), Duration::from_secs(30), || {
            if let Ok(Some(status)) = process.child.try_wait() {
                panic!(
                    "{command:?} ended with {status}:\n{}",
                    std::fs::read_to_string(log).unwrap_or_default()
                );
            }
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        });
        process
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TCP port of the loopback address that nobody uses now.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Finds a program on `PATH` and in the directories of system programs.
///
/// # Panics
/// If it is not installed; the text says how to get it.
#[must_use]
pub fn find_program(name: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tests find their tools where the test command put them")]
    let path = std::env::var("PATH").unwrap_or_default();
    let tools = crate::workspace().join("target/tools");
    std::iter::once(tools)
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is not installed; `cargo xtask tools` installs what the tests need")
        })
}
