//! The forked process that makes a container and starts it. It may use what memory it likes: it ends right after.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec as OciSpec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::Request;
use super::stdio::Theirs;
use crate::capability::Capabilities;
use crate::layout::{Durability, Layout, write_json};
use crate::process::{DEFAULT_PATH, OwnExecutable, Process};
use crate::{ContainerSpec, Mount, MountSource, Propagation, oci, passwd, rootfs};

/// A line of JSON to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    Pid(i32),
    Create(String),
    Process(String),
}

fn report(to: &OwnedFd, message: &Message) {
    let mut line = serde_json::to_vec(message).expect("a plain enum serialises");
    line.push(b'\n');
    // Shorter than PIPE_BUF in practice, so lines of two processes never mix; if the monitor is gone nobody reads.
    if let Ok(to) = to.try_clone() {
        let _ = File::from(to).write_all(&line);
    }
}

/// Makes and starts the container and tells the monitor over `to_monitor`; the result is this process's exit code.
pub(super) fn run(layout: &Layout, request: &Request, stdio: Theirs, to_monitor: OwnedFd) -> i32 {
    // Without its monitor nobody would learn of the container.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    match make(layout, request, stdio, &to_monitor) {
        Ok(()) => 0,
        Err(message) => {
            report(&to_monitor, &message);
            1
        }
    }
}

fn make(layout: &Layout, request: &Request, stdio: Theirs, to_monitor: &OwnedFd) -> Result<(), Message> {
    let Request { spec, hierarchies, cgroup } = request;
    let create = Message::Create;
    let own = OwnExecutable::remember().map_err(|e| create(format!("look at /proc/self/exe: {e}")))?;
    rootfs::enter_private_mounts().map_err(|e| create(format!("enter a mount namespace: {e}")))?;
    rootfs::mount_overlay(layout, &spec.layers).map_err(create)?;
    let mut process = resolve_process(layout, spec, hierarchies.version())?;
    if spec.terminal && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
        process.env.push("TERM=xterm".to_owned());
    }
    write_json(&layout.process(), &process, Durability::Atomic)
        .map_err(|e| create(format!("write process.json: {e}")))?;
    let spec = with_termination_message(layout, spec.clone()).map_err(create)?;
    let mounts = oci::resolve_mounts(layout, &spec).map_err(create)?;
    let config = oci::config(&spec, &process, &layout.rootfs(), &Path::new("/").join(cgroup), &mounts);
    write_bundle(layout, &config).map_err(create)?;
    let report_to = to_monitor.try_clone().map(std::rc::Rc::new).ok();
    let executor = ContainerExecutor { process, own, terminal: spec.terminal, report: report_to };
    let build = || {
        let mut container = ContainerBuilder::new("c".to_owned(), SyscallType::default())
            .with_root_path(layout.bundle())?
            .with_executor(executor)
            .with_stdin(stdio.stdin)
            .with_stdout(stdio.stdout)
            .with_stderr(stdio.stderr)
            .as_init(layout.bundle())
            .with_systemd(false)
            .with_detach(true)
            // The first process becomes a child of the monitor, which outlives this process.
            .as_sibling(true)
            .build()?;
        if let Some(pid) = container.pid() {
            report(to_monitor, &Message::Pid(pid.as_raw()));
        }
        container.start()
    };
    build().map_err(|error| create(chain(&error)))
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

fn resolve_process(
    layout: &Layout,
    spec: &ContainerSpec,
    cgroups: crate::cgroup::Version,
) -> Result<Process, Message> {
    let root = layout.rootfs();
    let read = |path: &str| {
        rootfs::read_inside(&root, path)
            .map_err(|e| Message::Create(format!("read /{path} of the image: {e}")))
    };
    let identity =
        passwd::resolve(&spec.user, &read("etc/passwd")?, &read("etc/group")?).map_err(Message::Process)?;
    let cwd = if spec.cwd.as_os_str().is_empty() { PathBuf::from("/") } else { spec.cwd.clone() };
    rootfs::make_dir_inside(&root, &cwd, 0o755)
        .map_err(|e| Message::Process(format!("make the working directory {}: {e}", cwd.display())))?;
    let capabilities = Capabilities::for_container(&spec.security, cgroups).map_err(Message::Create)?;
    let unfiltered = spec.security.privileged || spec.security.seccomp == crate::Seccomp::Unconfined;
    Ok(Process {
        args: spec.args.clone(),
        env: environment(&spec.env, &identity.home),
        cwd,
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.groups,
        capabilities,
        no_new_privileges: spec.security.no_new_privileges,
        seccomp: !unfiltered,
    })
}

/// Every name once, in the order of first appearance, with the last value.
fn environment(given: &[(String, String)], home: &str) -> Vec<String> {
    let mut entries: Vec<(&str, &str)> = vec![("PATH", DEFAULT_PATH), ("HOME", home)];
    for (name, value) in given {
        match entries.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value,
            None => entries.push((name, value)),
        }
    }
    entries.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn with_termination_message(layout: &Layout, mut spec: ContainerSpec) -> Result<ContainerSpec, String> {
    if let Some(target) = &spec.termination_message_path {
        let path = layout.termination_message();
        let make = || -> io::Result<()> {
            // Any user of the container may write its last words.
            File::create(&path)?.set_permissions(fs::Permissions::from_mode(0o666))
        };
        make().map_err(|e| format!("make {}: {e}", path.display()))?;
        spec.mounts.push(Mount {
            target: target.clone(),
            source: MountSource::Bind { path, sub_path: None },
            read_only: false,
            propagation: Propagation::Private,
        });
    }
    Ok(spec)
}

fn write_bundle(layout: &Layout, config: &serde_json::Value) -> Result<(), String> {
    // Reading it back as libcontainer will do names the field when the two disagree.
    serde_json::from_value::<OciSpec>(config.clone()).map_err(|e| format!("runtime specification: {e}"))?;
    let path = layout.bundle().join("config.json");
    fs::create_dir_all(layout.bundle())
        .and_then(|()| write_json(&path, config, Durability::Atomic))
        .map_err(|e| format!("write {}: {e}", path.display()))
}

/// Ends the container's first process in its program instead of libcontainer's own executor.
#[derive(Clone)]
struct ContainerExecutor {
    process: Process,
    own: OwnExecutable,
    terminal: bool,
    report: Option<std::rc::Rc<OwnedFd>>,
}

impl Executor for ContainerExecutor {
    fn exec(&self, _spec: &OciSpec) -> Result<(), ExecutorError> {
        // libcontainer has begun a session, of which the terminal becomes the controlling one.
        let reason =
            if self.terminal { rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()) } else { Ok(()) };
        let reason = match reason {
            Ok(()) => self.process.execute(self.own),
            Err(error) => format!("take the terminal: {error}"),
        };
        if let Some(to) = &self.report {
            report(to, &Message::Process(reason.clone()));
        }
        Err(ExecutorError::Other(reason))
    }

    fn validate(&self, _spec: &OciSpec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    /// The environment goes straight to `execve`.
    fn setup_envs(
        &self,
        _envs: std::collections::HashMap<String, String>,
    ) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_variables_win_in_place() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = environment(&[pair("A", "1"), pair("PATH", "/x"), pair("A", "2")], "/root");
        assert_eq!(env, ["PATH=/x", "HOME=/root", "A=2"]);
    }
}
