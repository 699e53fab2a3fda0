//! Resource limits taken from a container's first process for the commands run beside it.

use std::io;

use rustix::process::{Pid, Resource, Rlimit};

pub(crate) type Limits = Vec<(Resource, Rlimit)>;

const ALL: [(Resource, &str); 15] = [
    (Resource::Cpu, "Max cpu time"),
    (Resource::Fsize, "Max file size"),
    (Resource::Data, "Max data size"),
    (Resource::Stack, "Max stack size"),
    (Resource::Core, "Max core file size"),
    (Resource::Rss, "Max resident set"),
    (Resource::Nproc, "Max processes"),
    (Resource::Nofile, "Max open files"),
    (Resource::Memlock, "Max locked memory"),
    (Resource::As, "Max address space"),
    (Resource::Locks, "Max file locks"),
    (Resource::Sigpending, "Max pending signals"),
    (Resource::Msgqueue, "Max msgqueue size"),
    (Resource::Nice, "Max nice priority"),
    (Resource::Rtprio, "Max realtime priority"),
];

/// Reads `/proc/<pid>/limits`.
pub(crate) fn of_process(pid: i32) -> io::Result<Limits> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(parse(&std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero()))?))
}

fn parse(text: &str) -> Limits {
    let find = |(resource, name): (Resource, &str)| {
        let values = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut numbers = values.split_whitespace().map(|value| value.parse::<u64>().ok());
        Some((resource, Rlimit { current: numbers.next()?, maximum: numbers.next()? }))
    };
    ALL.into_iter().filter_map(find).collect()
}

pub(crate) fn apply(limits: &Limits) -> io::Result<()> {
    for (resource, limit) in limits {
        rustix::process::setrlimit(*resource, *limit)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_limits_of_a_process() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max open files            1024                 4096                 files     \n";
        let limits = parse(text);
        let find = |wanted: Resource| limits.iter().find(|(resource, _)| *resource == wanted).unwrap().1;
        assert_eq!(find(Resource::Nofile), Rlimit { current: Some(1024), maximum: Some(4096) });
        assert_eq!(find(Resource::Cpu), Rlimit { current: None, maximum: None });
    }
}
