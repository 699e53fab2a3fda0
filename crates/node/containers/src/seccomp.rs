//! The default system call filter: the allow-list that Docker and containerd share, with the same dependence on
//! capabilities. What is not listed fails with `EPERM`; `clone3` with `ENOSYS`, so that C libraries fall back to
//! `clone`, whose flags a filter can see.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::capability::Capabilities;

mod calls;

/// `CLONE_NEW*` for mount, cgroup, UTS, IPC, user, PID and network namespaces.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;
/// Kinds of execution domain that `personality` may switch to; the last asks without changing.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// The programs to install, in this order; the kernel obeys the strictest answer of all.
pub(crate) fn programs(capabilities: Capabilities) -> Result<Vec<BpfProgram>, String> {
    let build = || -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        let errno = |code: i32| SeccompAction::Errno(code.unsigned_abs());
        let mut programs = Vec::new();
        if !capabilities.has("SYS_ADMIN") {
            let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
            programs.push(
                SeccompFilter::new(rules, SeccompAction::Allow, errno(libc::ENOSYS), arch)?.try_into()?,
            );
        }
        let filter =
            SeccompFilter::new(allowed(capabilities)?, errno(libc::EPERM), SeccompAction::Allow, arch)?;
        programs.push(filter.try_into()?);
        Ok(programs)
    };
    build().map_err(|error| format!("cannot build the seccomp filter: {error}"))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn allowed(capabilities: Capabilities) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules =
        calls::ALWAYS.iter().chain(calls::ARCHITECTURE).map(|call| (*call, Vec::new())).collect();
    for (capability, calls) in calls::WITH_CAPABILITY {
        if capabilities.has(capability) {
            rules.extend(calls.iter().map(|call| (*call, Vec::new())));
        }
    }
    if !capabilities.has("SYS_ADMIN") {
        let no_namespaces = SeccompCmpOp::MaskedEq(NAMESPACE_FLAGS);
        rules.insert(libc::SYS_clone, vec![rule(0, SeccompCmpArgLen::Qword, no_namespaces, 0)?]);
    }
    let not_vsock = rule(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, libc::AF_VSOCK.unsigned_abs().into())?;
    rules.insert(libc::SYS_socket, vec![not_vsock]);
    let personalities =
        PERSONALITIES.iter().map(|value| rule(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value));
    rules.insert(libc::SYS_personality, personalities.collect::<Result<_, _>>()?);
    Ok(rules)
}

fn rule(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Security;
    use crate::cgroup::Version;

    #[test]
    fn fits_into_the_kernel() {
        for add in [vec![], vec!["ALL".to_owned()]] {
            let security = Security { add_capabilities: add, ..Security::default() };
            let capabilities = Capabilities::for_container(&security, Version::One).unwrap();
            for program in programs(capabilities).unwrap() {
                assert!((1..4096).contains(&program.len()), "{} instructions", program.len());
            }
        }
    }

    #[test]
    fn dangerous_calls_need_their_capability() {
        let default = Capabilities::for_container(&Security::default(), Version::One).unwrap();
        let rules = allowed(default).unwrap();
        for call in
            [libc::SYS_mount, libc::SYS_keyctl, libc::SYS_bpf, libc::SYS_unshare, libc::SYS_userfaultfd]
        {
            assert!(!rules.contains_key(&call), "call {call} is allowed");
        }
        assert!(!rules[&libc::SYS_clone].is_empty(), "clone is unconditional");
        assert!(rules.contains_key(&libc::SYS_chroot), "SYS_CHROOT is in the default set");
    }
}
