//! The few calls that neither `std` nor `rustix` nor `tokio` offers as safe functions.

#![expect(unsafe_code, reason = "system calls and registrations without a safe interface")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use seccompiler::sock_filter;

/// Which side of [`fork`] this is.
#[derive(Debug)]
pub(crate) enum Fork {
    Parent(rustix::process::Pid),
    Child,
}

/// Only for monitors and exec helpers, which have one thread.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the process has a single thread (monitors start none), so the child inherits consistent locks and memory.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(rustix::process::Pid::from_raw(pid).expect("fork returns a positive pid"))),
    }
}

/// Ends a forked child without running what the parent registered for its own exit.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from `first` on. Called before any of them is owned by a Rust value.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: called as the first thing in the process, when the descriptors closed here are owned by nothing in it.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// As [`close_from`], but for one descriptor that its caller owns.
pub(crate) fn close_from_but(first: u32, kept: &OwnedFd) -> io::Result<()> {
    let kept = u32::try_from(kept.as_raw_fd()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if kept > first {
        // SAFETY: as in `close_from`; the descriptor that is owned lies outside the range.
        if unsafe { libc::syscall(libc::SYS_close_range, first, kept - 1, 0u32) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    close_from(kept + 1)
}

/// A mount namespace of its own for this single-threaded process.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: `NEWNS` changes no descriptors or memory.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.map_err(Into::into)
}

/// Installs a filter for this thread and what it executes. Needs `CAP_SYS_ADMIN` or `no_new_privs`; unlike
/// `seccompiler::apply_filter` it does not turn the latter on, because that is the caller's choice.
pub(crate) fn install_seccomp(program: &[sock_filter]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: libc::c_ushort,
        filter: *const sock_filter,
    }
    let length = program.len().try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = Program { length, filter: program.as_ptr() };
    // SAFETY: the kernel copies `length` instructions from a slice that outlives the call.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0u32, &raw const program) }
    {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Ignores the signals by which terminals and service managers end process groups.
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE] {
        // SAFETY: SIG_IGN runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Lets the kernel collect ended children by itself.
pub(crate) fn ignore_children() {
    // SAFETY: SIG_IGN runs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Gives every signal its default action and unblocks all, as a fresh program expects.
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL runs no code; the set is initialised before it is used.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// A read-only view of a file that hangs in no mount tree: whoever executes it cannot be made to hand out a writable
/// descriptor of the file through `/proc/<pid>/exe`.
pub(crate) fn read_only_clone(path: &std::path::Path) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a valid C string; a non-negative result is a new descriptor that nothing else owns.
    let fd = unsafe {
        let flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint;
        match libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) {
            -1 => return Err(io::Error::last_os_error()),
            fd => OwnedFd::from_raw_fd(libc::c_int::try_from(fd).expect("descriptors are small integers")),
        }
    };
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: descriptor, path and attributes are valid for the call, and the size is that of the attributes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// Registers a descriptor for reading and writing.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` owns its descriptor and always gives the same one.
    unsafe { tokio::io::unix::AsyncFd::register(fd) }.map_err(Into::into)
}

/// Registers a descriptor with the async runtime.
pub(crate) fn watch_readable(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` answers with the same open descriptor until it is dropped, and the registration owns it.
    unsafe { tokio::io::unix::AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) }
        .map_err(Into::into)
}
