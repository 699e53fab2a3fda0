//! What a container sees and may do.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use containers::{ContainerSpec, Mount, MountSource, Namespace, Propagation, Resources, Seccomp};

use crate::fixture::Fixture;

fn bind(source: PathBuf, target: &str, read_only: bool) -> Mount {
    let source = MountSource::Bind { path: source, sub_path: None };
    Mount { target: target.into(), source, read_only, propagation: Propagation::Private }
}

async fn output(f: &Fixture, spec: ContainerSpec) -> Vec<String> {
    let id = spec.id.clone();
    let (exit, lines) = f.run(spec).await;
    assert_eq!(exit.code, 0, "{lines:?} {:?}", f.lines(&id, "stderr"));
    lines
}

#[tokio::test]
async fn has_its_own_processes_name_and_mounts() {
    let f = Fixture::new().await;
    let script = "echo $$; hostname; ls -d /proc/[0-9]* | wc -l; grep -c . /proc/self/mountinfo; cat /proc/1/comm; \
        test -w / && echo writable; test -e /dev/null && test -c /dev/urandom && echo devices; \
        stat -c %a /tmp /dev/shm; ls /dev | tr '\\n' ' '";
    let lines = output(&f, f.shell("a", script)).await;
    assert_eq!(lines[..2], ["1", "host-a"]);
    assert!(lines[2].parse::<u32>().unwrap() <= 4, "{lines:?}");
    assert!(lines[3].parse::<u32>().unwrap() < 50, "{lines:?}");
    assert_eq!(lines[4..7], ["sh", "writable", "devices"]);
    assert!(!lines.last().unwrap().contains("sda"), "{lines:?}");
    let mounts = output(&f, f.shell("b", "cat /proc/self/mountinfo")).await.join("\n");
    let dir = f.dir.path().to_str().unwrap();
    assert!(!mounts.contains("/run/") && !mounts.contains(&format!("{dir}/layer ")), "{mounts}");
    let layer = std::fs::read_dir(f.dir.path().join("layer")).unwrap().count();
    output(&f, f.shell("c", "echo x > /new")).await;
    assert_eq!(
        std::fs::read_dir(f.dir.path().join("layer")).unwrap().count(),
        layer,
        "layers are never written"
    );
    f.destroy().await;
}

#[tokio::test]
async fn joins_namespaces_it_is_given() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("first", "echo up; sleep 1000")).await.unwrap();
    f.line("first", "up").await;
    let containers::Status::Running(running) = f.containers.status("first").unwrap() else { panic!() };
    let path = |kind: &str| Namespace::Path(format!("/proc/{}/ns/{kind}", running.pid).into());
    let mut spec = f.shell(
        "second",
        "readlink /proc/self/ns/ipc; readlink /proc/self/ns/net; hostname; ls -d /proc/[0-9]* | wc -l",
    );
    spec.namespaces.ipc = path("ipc");
    spec.namespaces.uts = path("uts");
    spec.namespaces.pid = path("pid");
    let lines = output(&f, spec).await;
    let link = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", running.pid)).unwrap();
        link.to_str().unwrap().to_owned()
    };
    assert_eq!(lines[..3], [link("ipc"), link("net"), "host-first".to_owned()]);
    assert!(lines[3].parse::<u32>().unwrap() >= 3, "the first one's processes are seen: {lines:?}");
    f.destroy().await;
}

#[tokio::test]
async fn runs_as_the_user_it_is_told() {
    let f = Fixture::new().await;
    let script = "id -u; id -g; id -G; echo $HOME; pwd; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status";
    let mut spec = f.shell("a", script);
    spec.user.name = "app".to_owned();
    spec.user.additional_groups = vec![2000];
    spec.cwd = "/made/for/it".into();
    spec.security.no_new_privileges = true;
    let lines = output(&f, spec).await;
    assert_eq!(lines[..5], ["1000", "1001", "1001 1002 2000", "/home/app", "/made/for/it"]);
    assert_eq!(lines[5], "CapEff:\t0000000000000000");
    assert_eq!(lines[6], "NoNewPrivs:\t1");
    let mut spec = f.shell("b", "id -u; id -g; echo $HOME $A; ulimit -n; ulimit -c");
    spec.user.name = "4242:17".to_owned();
    spec.env = [("A", "1"), ("A", "2")].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    spec.rlimits = vec![containers::Rlimit { name: "core".to_owned(), soft: 0, hard: 0 }];
    let lines = output(&f, spec).await;
    assert_eq!(lines[..3], ["4242", "17", "/ 2"]);
    assert_eq!(lines[4], "0");
    f.destroy().await;
}

#[tokio::test]
async fn capabilities_are_limited() {
    let f = Fixture::new().await;
    let script =
        "sed -n 's/^Cap\\(Bnd\\|Eff\\|Amb\\|Inh\\):\\t//p' /proc/self/status; chown 1:1 /tmp && echo chown";
    let lines = output(&f, f.shell("a", script)).await;
    // Inheritable, effective, bounding, ambient.
    assert_eq!(lines[0], "0000000000000000");
    assert_eq!(lines[1], lines[2]);
    assert_eq!(lines[3], "0000000000000000");
    let default = u64::from_str_radix(&lines[1], 16).unwrap();
    let sys_admin = 1 << 21;
    assert_eq!(default & sys_admin, 0);
    assert_eq!(lines[4], "chown");
    let mut spec = f.shell("b", "chown 1:1 /tmp 2>/dev/null || echo refused");
    spec.security.drop_capabilities = vec!["ALL".to_owned()];
    assert_eq!(output(&f, spec).await, ["refused"]);
    f.destroy().await;
}

#[tokio::test]
async fn seccomp_is_on_by_default() {
    let f = Fixture::new().await;
    let script = "grep ^Seccomp: /proc/self/status; unshare --user true 2>/dev/null && echo unshared; \
        grep NoNewPrivs /proc/self/status; true";
    let lines = output(&f, f.shell("a", script)).await;
    assert_eq!(lines, ["Seccomp:\t2", "NoNewPrivs:\t0"]);
    let mut spec = f.shell("user", script);
    spec.user.name = "1000".to_owned();
    assert_eq!(output(&f, spec).await, ["Seccomp:\t2", "NoNewPrivs:\t0"]);
    let mut spec = f.shell("b", script);
    spec.security.seccomp = Seccomp::Unconfined;
    assert_eq!(output(&f, spec).await[0], "Seccomp:\t0");
    f.destroy().await;
}

#[tokio::test]
async fn kernel_settings_are_out_of_reach() {
    let f = Fixture::new().await;
    let script = "echo 1 > /proc/sys/kernel/panic || echo ro-proc; echo b > /proc/sysrq-trigger || echo ro-sysrq; \
        wc -c < /proc/kcore 2>/dev/null || echo no-kcore; touch /sys/x || echo ro-sys; \
        mount -t tmpfs x /tmp || echo no-mount; true";
    let mut spec = f.shell("a", script);
    spec.sysctls = vec![("kernel.shm_rmid_forced".to_owned(), "1".to_owned())];
    let lines = output(&f, spec).await;
    assert_eq!(lines[..2], ["ro-proc", "ro-sysrq"]);
    assert!(lines.contains(&"ro-sys".to_owned()) && lines.contains(&"no-mount".to_owned()), "{lines:?}");
    assert!(lines.contains(&"0".to_owned()) || lines.contains(&"no-kcore".to_owned()), "{lines:?}");
    let mut spec = f.shell("b", "cat /proc/sys/kernel/shm_rmid_forced");
    spec.sysctls = vec![("kernel.shm_rmid_forced".to_owned(), "1".to_owned())];
    assert_eq!(output(&f, spec).await, ["1"]);
    f.destroy().await;
}

#[tokio::test]
async fn privileged_means_so() {
    let f = Fixture::new().await;
    let mut spec = f.shell(
        "a",
        "mount -t tmpfs x /tmp && echo mounted; grep ^Seccomp: /proc/self/status; ls /dev | wc -l",
    );
    spec.security.privileged = true;
    let lines = output(&f, spec).await;
    assert_eq!(lines[..2], ["mounted", "Seccomp:\t0"]);
    f.destroy().await;
}

#[tokio::test]
async fn mounts_appear_where_they_are_wanted() {
    let f = Fixture::new().await;
    let volume = f.dir.path().join("volume");
    std::fs::create_dir_all(volume.join("sub")).unwrap();
    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::write(volume.join("sub/file"), "content\n").unwrap();
    std::os::unix::fs::symlink("/etc", volume.join("escape")).unwrap();
    let hosts = f.dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 me\n").unwrap();
    let sub = |sub: &str, target: &str| Mount {
        target: target.into(),
        source: MountSource::Bind { path: volume.clone(), sub_path: Some(sub.into()) },
        read_only: false,
        propagation: Propagation::Private,
    };
    let mut spec = f.shell(
        "a",
        "cat /etc/hosts /sub/file /one; touch /ro/x 2>/dev/null || echo read-only; touch /rw/new; ls /made; \
         df -k --output=size /mem | tail -1 | tr -d ' '; touch /x 2>/dev/null || echo read-only-root",
    );
    spec.security.read_only_rootfs = true;
    spec.mounts.extend([
        bind(hosts, "/etc/hosts", true),
        bind(volume.clone(), "/ro", true),
        bind(volume.clone(), "/rw", false),
        sub("sub", "/sub"),
        sub("sub/file", "/one"),
        sub("made/here", "/made"),
        Mount {
            target: "/mem".into(),
            source: MountSource::Tmpfs { size: Some(1 << 20), mode: 0o1777 },
            read_only: false,
            propagation: Propagation::Private,
        },
    ]);
    let lines = output(&f, spec).await;
    assert_eq!(lines[..3], ["127.0.0.1 me", "content", "content"]);
    assert_eq!(lines[3..], ["read-only", "1024", "read-only-root"]);
    assert!(volume.join("new").exists() && volume.join("made/here").is_dir());

    // A link that leads outside is taken as if the volume were the root, where there is nothing.
    let mut spec = f.shell("b", "true");
    spec.mounts.push(sub("escape", "/escaped"));
    let error = f.containers.start(spec).await.unwrap_err().to_string();
    assert!(error.contains("it is a link that leads nowhere inside"), "{error}");

    let mut spec = f.shell("b", "true");
    spec.mounts.push(bind("/nonexistent/source".into(), "/x", false));
    let error = f.containers.start(spec).await.unwrap_err().to_string();
    assert!(error.contains("mount source /nonexistent/source"), "{error}");
    f.destroy().await;
}

#[tokio::test]
async fn more_memory_than_allowed_ends_it() {
    let f = Fixture::new().await;
    let mut spec = f.shell("a", "head -c 200m /dev/zero | tail | wc -c; echo survived");
    spec.args = ["/bin/sh", "-c", "exec tail /dev/zero"].map(str::to_owned).to_vec();
    spec.resources.memory_limit = Some(32 << 20);
    let (exit, _) = f.run(spec).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), true));
    f.destroy().await;
}

#[tokio::test]
async fn limits_reach_the_kernel() {
    let f = Fixture::new().await;
    let mut spec = f.shell("a", "(while :; do sleep 1000 & done) 2>/dev/null; sleep 1000");
    spec.resources = Resources {
        cpu_shares: Some(512),
        cpu_quota_millis: Some(250),
        memory_limit: Some(64 << 20),
        pids_limit: Some(20),
        oom_score_adj: Some(500),
    };
    f.containers.start(spec).await.unwrap();
    test_kit::eventually_async("processes up to the limit", crate::fixture::DEADLINE, || async {
        let stats = f.containers.stats("a").await.unwrap();
        // The shell that fails to start one more is gone afterwards.
        if (18..=20).contains(&stats.processes) { Ok(()) } else { Err(stats) }
    })
    .await;
    let read = |name: &str| {
        let dirs = f.cgroups();
        let paths = dirs.iter().map(|dir| dir.join("a").join(name));
        paths
            .into_iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .map(|text| text.trim().to_owned())
    };
    let quota = read("cpu.cfs_quota_us").or_else(|| read("cpu.max"));
    assert!(matches!(quota.as_deref(), Some("25000" | "25000 100000")), "{quota:?}");
    let memory = read("memory.limit_in_bytes").or_else(|| read("memory.max"));
    assert_eq!(memory.as_deref(), Some("67108864"));
    assert_eq!(read("pids.max").as_deref(), Some("20"));
    let stats = f.containers.stats("a").await.unwrap();
    assert!(
        stats.cpu_usage_ns > 0
            && stats.memory_working_set > 0
            && stats.memory_usage >= stats.memory_working_set,
        "{stats:?}"
    );
    let containers::Status::Running(running) = f.containers.status("a").unwrap() else { panic!() };
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", running.pid)).unwrap();
    assert_eq!(score.trim(), "500");
    f.containers.kill("a").await.unwrap();
    assert!(f.containers.stats("a").await.is_err());
    f.destroy().await;
}

#[tokio::test]
async fn last_words_are_kept() {
    let f = Fixture::new().await;
    let mut spec = f.shell("a", "head -c 5000 /dev/zero | tr '\\0' x > /dev/termination-log; exit 1");
    spec.termination_message_path = Some("/dev/termination-log".into());
    spec.user.name = "1000".to_owned();
    let (exit, _) = f.run(spec).await;
    assert_eq!(exit.message.unwrap(), "x".repeat(4096));
    f.destroy().await;
}

#[tokio::test]
async fn logs_are_rotated() {
    let f = Fixture::new().await;
    let mut spec = f.shell("a", "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done");
    spec.log.max_bytes = 20_000;
    spec.log.max_files = 3;
    f.run(spec).await;
    let size = |suffix: &str| {
        let path = f.dir.path().join(format!("a.log{suffix}"));
        std::fs::metadata(path).map(|metadata| metadata.len())
    };
    for suffix in ["", ".1", ".2"] {
        assert!(size(suffix).unwrap() <= 20_000);
    }
    assert!(size(".3").is_err());
    assert_eq!(f.lines("a", "stdout").last().unwrap(), "line 1999");
    f.destroy().await;
}
