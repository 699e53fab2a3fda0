//! Charts packed as `.tgz`.

use std::io::Read;

use bytes::Bytes;

use crate::chart::File;
use crate::error::Error;

/// What all files of a chart may have together when they are unpacked.
pub(crate) const MAX_CHART: u64 = 100 * 1024 * 1024;
/// What one file may have.
pub(crate) const MAX_FILE: u64 = 5 * 1024 * 1024;

fn refuse<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Chart(text.into()))
}

/// The files of a `.tgz` archive, named relative to the chart.
///
/// # Errors
/// If it is broken, expands beyond Helm's limits (100 MiB together, 5 MiB a file), or holds links or names that lie
/// outside the chart.
pub fn unpack(archive: &[u8]) -> Result<Vec<File>, Error> {
    let gzip = flate2::read::MultiGzDecoder::new(archive);
    // Headers and padding count too, so that an archive of nothing but headers ends as well.
    let mut archive = tar::Archive::new(gzip.take(2 * MAX_CHART));
    let mut remaining = MAX_CHART;
    let mut files = Vec::new();
    let broken = |error: std::io::Error| Error::Chart(error.to_string());
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
            continue;
        }
        let path = entry.path_bytes();
        let path = String::from_utf8_lossy(&path).into_owned();
        let name = relative_name(&path)?;
        if !kind.is_file() && !kind.is_contiguous() {
            return refuse(format!("chart archive entry {path:?} is not a regular file"));
        }
        let size = entry.size();
        if size > remaining {
            return refuse(format!("decompressed chart is larger than the maximum size {MAX_CHART}"));
        }
        if size > MAX_FILE {
            return refuse(format!(
                "decompressed chart file {} is larger than the maximum file size {MAX_FILE}",
                gotmpl::quote(path.as_bytes())
            ));
        }
        let mut data = Vec::new();
        entry.by_ref().take(remaining).read_to_end(&mut data).map_err(broken)?;
        let read = data.len() as u64;
        remaining = remaining.saturating_sub(read);
        if read < size || remaining == 0 {
            return refuse(format!("decompressed chart is larger than the maximum size {MAX_CHART}"));
        }
        files.push(File { name, data: without_mark(data.into()) });
    }
    if files.is_empty() {
        return refuse("no files in chart archive");
    }
    Ok(files)
}

/// Files may begin with a byte order mark, which Helm drops.
pub(crate) fn without_mark(data: Bytes) -> Bytes {
    if data.starts_with(b"\xEF\xBB\xBF") { data.slice(3..) } else { data }
}

/// A path in the archive without its first directory.
fn relative_name(path: &str) -> Result<String, Error> {
    let delimiter = if path.contains('\\') { '\\' } else { '/' };
    let (first, rest) = path.split_once(delimiter).unwrap_or((path, ""));
    let rest = rest.replace(delimiter, "/");
    if rest.starts_with('/') {
        return refuse("chart illegally contains absolute paths");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return refuse("chart illegally references parent directory"),
            ".." => {}
            name => parts.push(name),
        }
    }
    if parts.is_empty() {
        return refuse(format!(
            "chart illegally contains content outside the base directory: {}",
            gotmpl::quote(path.as_bytes())
        ));
    }
    let name = parts.join("/");
    if name.starts_with("..") {
        return refuse("chart illegally references parent directory");
    }
    let drive = name.as_bytes();
    if drive.len() > 2 && drive[0].is_ascii_alphabetic() && &drive[1..3] == b":/" {
        return refuse("chart contains illegally named files");
    }
    if first == "Chart.yaml" {
        return refuse("chart yaml not in base directory");
    }
    Ok(name)
}
