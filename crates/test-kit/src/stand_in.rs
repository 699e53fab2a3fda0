//! Images that stand for those that real repositories name: servers from Debian that really serve.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::find_program;

/// Starts PostgreSQL as the official image does: settings from `POSTGRES_*`, data below `PGDATA`, made on first use.
const POSTGRES: &str = r#"#!/bin/sh
set -eu
user="${POSTGRES_USER:-postgres}"
data="${PGDATA:-/var/lib/postgresql/data}/pgdata"
mkdir -p "$data" /tmp
chown -R postgres:postgres "$data"
chmod 700 "$data"
chmod 1777 /tmp
if [ ! -s "$data/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  chown postgres /tmp/password
  su postgres -s /bin/sh -c "BIN/initdb --pgdata='$data' --username='$user' --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --no-locale --no-sync"
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  echo "CREATE DATABASE \"${POSTGRES_DB:-$user}\";" | su postgres -s /bin/sh -c "BIN/postgres --single -D '$data' postgres"
fi
exec su postgres -s /bin/sh -c "exec BIN/postgres -D '$data' -c listen_addresses='*' -c unix_socket_directories='' -c jit=off"
"#;

/// The users that the servers run as.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\nredis:x:998:998::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\npostgres:x:999:\nredis:x:998:\n";

/// The applets of busybox that the start scripts and `initdb` use.
const APPLETS: [&str; 8] = ["sh", "su", "mkdir", "chown", "chmod", "rm", "cat", "echo"];

/// What `mainstay image pack` makes the image of.
#[derive(Debug)]
pub struct StandIn {
    name: String,
    root: TempDir,
    arguments: Vec<String>,
}

impl StandIn {
    /// PostgreSQL under the name `postgres:16`.
    ///
    /// # Panics
    /// If it is not installed.
    #[must_use]
    pub fn postgres() -> Self {
        let installed = postgres_directory();
        let share = Path::new("/usr/share/postgresql").join(installed.file_name().expect("a version"));
        let bin = installed.join("bin");
        let mut image = Self::new("postgres:16");
        image.script("entrypoint", &POSTGRES.replace("BIN", &bin.display().to_string()));
        for program in ["postgres", "initdb"] {
            image.add(&bin.join(program));
        }
        // Conversions and plpgsql are loaded while the cluster is made; the just-in-time compiler is large and off.
        for library in ["plpgsql.so", "dict_snowball.so", "libpqwalreceiver.so", "utf8_and_euc2004.so"] {
            let path = installed.join("lib").join(library);
            if path.exists() {
                image.add(&path);
            }
        }
        image.add(&share);
        image.add(Path::new("/usr/share/zoneinfo/UTC"));
        image
    }

    /// Redis under the name `redis:7-alpine`.
    ///
    /// # Panics
    /// If it is not installed.
    #[must_use]
    pub fn redis() -> Self {
        let mut image = Self::new("redis:7-alpine");
        let server = find_program("redis-server");
        image.add(&server);
        let start =
            format!("#!/bin/sh\nexec {} --bind '*' --protected-mode no --save ''\n", server.display());
        image.script("entrypoint", &start);
        image
    }

    fn new(name: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        for directory in ["bin", "etc", "tmp"] {
            fs::create_dir(root.path().join(directory)).expect("make the image's directories");
        }
        fs::write(root.path().join("etc/passwd"), PASSWD).expect("write passwd");
        fs::write(root.path().join("etc/group"), GROUP).expect("write group");
        let busybox = find_program("busybox");
        fs::copy(&busybox, root.path().join("bin/busybox")).expect("copy busybox");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", root.path().join("bin").join(applet))
                .expect("link an applet");
        }
        let arguments = vec!["--entrypoint".to_owned(), "/bin/entrypoint".to_owned()];
        Self { name: name.to_owned(), root, arguments }
    }

    fn add(&mut self, path: &Path) {
        self.arguments.extend(["--add".to_owned(), path.display().to_string()]);
    }

    fn script(&mut self, name: &str, text: &str) {
        let path = self.root.path().join("bin").join(name);
        fs::write(&path, text).expect("write the start script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    }

    /// The image's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments of `mainstay image pack` that make it.
    #[must_use]
    pub fn pack_arguments(&self) -> Vec<String> {
        let mut arguments =
            vec![self.root.path().display().to_string(), "--tag".to_owned(), self.name.clone()];
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }
}

/// Where Debian keeps the newest PostgreSQL that is installed.
fn postgres_directory() -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").is_file())
        .collect();
    versions.sort();
    versions.pop().expect("PostgreSQL is not installed; `cargo xtask tools` installs what the tests need")
}
