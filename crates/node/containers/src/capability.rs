//! Which capabilities a container's process may ever have.

use rustix::thread::CapabilitySet;

use crate::Security;
use crate::cgroup::Version;

/// By number, as in `linux/capability.h`.
pub(crate) const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker and containerd grant when nothing is said.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The set of capabilities, bit n for capability n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Capabilities(u64);

impl Capabilities {
    /// Everything this process may grant: all that the kernel knows, unless something limits this process, too.
    pub(crate) fn all() -> Self {
        // Asking about oneself cannot fail; with nothing to grant, the first step that needs a capability says so.
        Self(rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits()))
    }

    /// As containerd combines them: `ALL` first, then single additions, then single removals.
    ///
    /// `MKNOD` is left out where no device cgroup limits what a made node can reach (version 2).
    pub(crate) fn for_container(security: &Security, cgroups: Version) -> Result<Self, String> {
        let all = Self::all();
        if security.privileged {
            return Ok(all);
        }
        let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
        let mut set = Self::of(&DEFAULT);
        if security.add_capabilities.iter().any(is_all) {
            set = all;
        }
        if security.drop_capabilities.iter().any(is_all) {
            set = Self(0);
        }
        for name in security.add_capabilities.iter().filter(|name| !is_all(name)) {
            set.0 |= Self::bit(name)?;
        }
        for name in security.drop_capabilities.iter().filter(|name| !is_all(name)) {
            set.0 &= !Self::bit(name)?;
        }
        if cgroups == Version::Two {
            set.0 &= !Self::bit("MKNOD")?;
        }
        Ok(Self(set.0 & all.0))
    }

    fn of(names: &[&str]) -> Self {
        Self(names.iter().filter_map(|name| Self::bit(name).ok()).sum())
    }

    fn bit(name: &str) -> Result<u64, String> {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match NAMES.iter().position(|known| *known == short) {
            Some(number) => Ok(1 << number),
            None => Err(format!("unknown capability {name:?}")),
        }
    }

    pub(crate) fn has(self, name: &str) -> bool {
        Self::bit(name).is_ok_and(|bit| self.0 & bit != 0)
    }

    /// `CAP_…` names, as the runtime specification wants them.
    pub(crate) fn names(self) -> Vec<String> {
        let numbered = NAMES.iter().enumerate();
        numbered.filter(|(n, _)| self.0 >> n & 1 == 1).map(|(_, name)| format!("CAP_{name}")).collect()
    }

    pub(crate) fn set(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.0)
    }

    /// Takes everything else out of the bounding set of this thread, capabilities newer than this program included.
    pub(crate) fn bound(self) -> rustix::io::Result<()> {
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            match rustix::thread::capability_is_in_bounding_set(capability) {
                Ok(true) if self.0 >> number & 1 == 0 => {
                    rustix::thread::remove_capability_from_bounding_set(capability)?;
                }
                Ok(_) => {}
                // The kernel knows no more.
                Err(rustix::io::Errno::INVAL) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], cgroups: Version) -> Vec<String> {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = Security {
            add_capabilities: strings(add),
            drop_capabilities: strings(drop),
            ..Security::default()
        };
        Capabilities::for_container(&security, cgroups).unwrap().names()
    }

    #[test]
    fn combines_as_containerd() {
        let default = check(&[], &[], Version::One);
        let granted = Capabilities(Capabilities::of(&DEFAULT).0 & Capabilities::all().0);
        assert_eq!(default, granted.names());
        assert_eq!(check(&[], &["ALL"], Version::One), Vec::<String>::new());
        let one = Capabilities(Capabilities::of(&["NET_BIND_SERVICE"]).0 & Capabilities::all().0);
        assert_eq!(check(&["net_bind_service"], &["ALL"], Version::One), one.names());
        assert_eq!(check(&["CAP_SYS_TIME"], &["all", "SYS_TIME"], Version::One), Vec::<String>::new());
        assert_eq!(check(&["ALL"], &[], Version::One), Capabilities::all().names());
    }

    #[test]
    fn no_device_nodes_without_a_device_cgroup() {
        assert!(!check(&[], &[], Version::Two).contains(&"CAP_MKNOD".to_owned()));
        assert!(!check(&["MKNOD"], &[], Version::Two).contains(&"CAP_MKNOD".to_owned()));
    }

    #[test]
    fn names_what_it_does_not_know() {
        let security = Security { add_capabilities: vec!["FLY".to_owned()], ..Security::default() };
        assert_eq!(
            Capabilities::for_container(&security, Version::One),
            Err("unknown capability \"FLY\"".to_owned())
        );
    }
}
