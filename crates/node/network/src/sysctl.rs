//! Kernel settings below `/proc/sys/net`, always of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::Error;

/// Reads a setting, `None` where this kernel or interface has none. `key` is a path such as `ipv4/conf/eth0/forwarding`
/// (interface names may contain dots, so the dotted form would be ambiguous).
pub(crate) fn get(key: &str) -> Result<Option<String>, Error> {
    let path = path(key);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { action: "read kernel setting", path, source }),
    }
}

pub(crate) fn set(key: &str, value: &str) -> Result<(), Error> {
    let path = path(key);
    fs::write(&path, value).map_err(|source| Error::File { action: "write kernel setting", path, source })
}

/// Sets what may be absent (IPv6 is switched off on some machines, and then there is nothing to set).
pub(crate) fn set_if_present(key: &str, value: &str) -> Result<(), Error> {
    match get(key)? {
        Some(_) => set(key, value),
        None => Ok(()),
    }
}

fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(key)
}
