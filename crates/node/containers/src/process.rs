//! From a helper process inside the container to the program the container is for: the last steps before `execve`,
//! the same for a container's first process and for commands run in it later.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Signal, Uid};
use rustix::thread::CapabilitySets;
use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;
use crate::{seccomp, sys};

pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container's processes are, with everything looked up. Kept as `process.json` for commands run later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) args: Vec<String>,
    /// `NAME=value`, each name once.
    pub(crate) env: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) capabilities: Capabilities,
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: bool,
}

/// The file this process is running, remembered before the container's file system hides it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnExecutable {
    device: u64,
    inode: u64,
}

impl OwnExecutable {
    pub(crate) fn remember() -> io::Result<Self> {
        let metadata = fs::metadata("/proc/self/exe")?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Process {
    /// Becomes the user it is to run as, keeping all capabilities for the steps of [`execute`](Self::execute).
    pub(crate) fn become_user(&self) -> Result<(), String> {
        let step = |what: &str, result: rustix::io::Result<()>| result.map_err(|e| format!("{what}: {e}"));
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        step("keep capabilities", rustix::thread::set_keep_capabilities(true))?;
        step("set groups", rustix::thread::set_thread_groups(&groups))?;
        step("set group", rustix::thread::set_thread_res_gid(gid, gid, gid))?;
        step("set user", rustix::thread::set_thread_res_uid(uid, uid, uid))?;
        let all = Capabilities::all().set();
        let sets = CapabilitySets { effective: all, permitted: all, inheritable: all };
        step("restore capabilities", rustix::thread::set_capabilities(None, sets))
    }

    /// Replaces this process; returns only the reason why not, in the words of the usual runtimes.
    ///
    /// The order matters: the filter needs `CAP_SYS_ADMIN` or `no_new_privs`, so it precedes the loss of capabilities.
    pub(crate) fn execute(&self, own: OwnExecutable) -> String {
        match self.try_execute(own) {
            Ok(never) => match never {},
            Err(reason) => reason,
        }
    }

    fn try_execute(&self, own: OwnExecutable) -> Result<std::convert::Infallible, String> {
        let step = |what: &str, result: rustix::io::Result<()>| result.map_err(|e| format!("{what}: {e}"));
        let c_strings = |strings: &[String]| -> Result<Vec<CString>, String> {
            let converted = strings.iter().map(|s| CString::new(s.as_bytes()));
            converted
                .collect::<Result<_, _>>()
                .map_err(|_| "an argument or variable holds a NUL byte".to_owned())
        };
        let (args, env) = (c_strings(&self.args)?, c_strings(&self.env)?);
        sys::reset_signals();
        if self.no_new_privileges {
            step("set no_new_privs", rustix::thread::set_no_new_privs(true))?;
        }
        if self.seccomp {
            for program in seccomp::programs(self.capabilities)? {
                sys::install_seccomp(&program).map_err(|e| format!("install the seccomp filter: {e}"))?;
            }
        }
        self.limit_capabilities()?;
        let program = self.find_program(own)?;
        let path = CString::new(program.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
        // Cleared by every change of user, so not before it.
        step(
            "set the parent death signal",
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)),
        )?;
        match nix::unistd::execve(&path, &args, &env) {
            Err(error) => Err(format!("exec {}: {}", program.display(), words(error.into()))),
        }
    }

    fn limit_capabilities(&self) -> Result<(), String> {
        let step = |what: &str, result: rustix::io::Result<()>| result.map_err(|e| format!("{what}: {e}"));
        let keep = self.capabilities.set();
        step("limit the capability bounding set", self.capabilities.bound())?;
        step("clear the ambient capabilities", rustix::thread::clear_ambient_capability_set())?;
        let none = rustix::thread::CapabilitySet::empty();
        // A non-root user starts without any, exactly as if the user had been changed without keeping them.
        let held = if self.uid == 0 { keep } else { none };
        let sets = CapabilitySets { effective: held, permitted: held, inheritable: none };
        step("set capabilities", rustix::thread::set_capabilities(None, sets))
    }

    /// As Go's `exec.LookPath`, whose words every Kubernetes user knows.
    fn find_program(&self, own: OwnExecutable) -> Result<PathBuf, String> {
        let name = self.args.first().map(String::as_str).unwrap_or_default();
        let failure = |reason: &str| format!("exec: {name:?}: {reason}");
        if name.is_empty() {
            return Err("no command specified".to_owned());
        }
        if name.contains('/') {
            return match check_program(Path::new(name), own) {
                Ok(()) => Ok(PathBuf::from(name)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(failure(&format!("stat {name}: no such file or directory")))
                }
                Err(error) => Err(failure(&words(error))),
            };
        }
        let path = self.env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        let candidates =
            path.split(':').map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name));
        candidates
            .into_iter()
            .find(|candidate| check_program(candidate, own).is_ok())
            .ok_or_else(|| failure("executable file not found in $PATH"))
    }
}

/// Whether the file may be executed. `/proc/self/exe` and other ways back to this very program are refused: it belongs to
/// the host.
fn check_program(path: &Path, own: OwnExecutable) -> io::Result<()> {
    let file = rustix::fs::open(path, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, 0.into())?;
    let stat = fs::File::from(file.as_fd().try_clone_to_owned()?).metadata()?;
    if stat.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let is_own = stat.dev() == own.device && stat.ino() == own.inode;
    if is_own || !stat.is_file() || stat.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).map_err(Into::into)
}

/// The kernel's message as Go prints it: without Rust's `(os error 2)`, in lower case.
pub(crate) fn words(error: io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
