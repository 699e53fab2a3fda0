//! Small files that are whole or absent after a crash of the process. They describe what lives in the kernel, which a
//! power cut ends anyway, so nothing is flushed to disk.

use std::fs;
use std::path::Path;

use crate::Error;

/// Writes `bytes` beside `path` and renames it there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |action| move |source| Error::File { action, path: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, bytes).map_err(failed("write"))?;
    fs::rename(&beside, path).map_err(failed("replace"))
}
