//! `hostPath` volumes of Pods that may have them.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use super::{VolumeError, blocking};

/// Checks the path against the `type` it is declared with, and makes it where the type says so.
pub(super) async fn check(path: &str, kind: &str) -> Result<PathBuf, VolumeError> {
    let (path, kind) = (PathBuf::from(path), kind.to_owned());
    blocking(move || {
        if !path.is_absolute() {
            return Err(VolumeError::HostPath(format!("hostPath {} is not absolute", path.display())));
        }
        match kind.as_str() {
            "DirectoryOrCreate" => fs::create_dir_all(&path).map_err(VolumeError::file("create", &path))?,
            "FileOrCreate" if !path.exists() => {
                fs::write(&path, b"").map_err(VolumeError::file("create", &path))?;
            }
            _ => {}
        }
        let wrong = |what| {
            VolumeError::HostPath(format!("hostPath type check failed: {} is not {what}", path.display()))
        };
        let Ok(meta) = fs::metadata(&path) else {
            // Without a type nothing is checked, and the runtime would make a directory: so do we.
            if kind.is_empty() {
                fs::create_dir_all(&path).map_err(VolumeError::file("create", &path))?;
                return Ok(path);
            }
            return Err(wrong("there"));
        };
        let file_type = meta.file_type();
        match kind.as_str() {
            "Directory" | "DirectoryOrCreate" if !file_type.is_dir() => Err(wrong("a directory")),
            "File" | "FileOrCreate" if !file_type.is_file() => Err(wrong("a file")),
            "Socket" if !file_type.is_socket() => Err(wrong("a socket file")),
            "CharDevice" if !file_type.is_char_device() => Err(wrong("a character device")),
            "BlockDevice" if !file_type.is_block_device() => Err(wrong("a block device")),
            _ => Ok(path),
        }
    })
    .await
}
