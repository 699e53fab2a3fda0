//! What an ELF file needs to be loaded, and where this system keeps it.

use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _};
use object::{Endianness, FileKind, ReadCache, ReadRef, elf};

use crate::PackError;

/// An ELF program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) interpreter: Option<PathBuf>,
    /// Names such as `libc.so.6`.
    pub(super) needed: Vec<String>,
    /// `RUNPATH`, or `RPATH` where there is none.
    run_path: Vec<String>,
    machine: Machine,
}

/// Word size and processor: only libraries of the same kind fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Machine {
    is_64: bool,
    number: u16,
}

pub(super) fn is_program(path: &Path) -> Result<bool, PackError> {
    Ok(read(path)?.is_some())
}

/// Reads an ELF file; `None` for any other file.
pub(super) fn read(path: &Path) -> Result<Option<Object>, PackError> {
    let mut magic = [0; 4];
    let mut file = super::open(path)?;
    if file.read_exact(&mut magic).is_err() || magic != elf::ELFMAG {
        return Ok(None);
    }
    let cache = ReadCache::new(file);
    let parsed = match FileKind::parse(&cache) {
        Ok(FileKind::Elf64) => parse::<elf::FileHeader64<Endianness>, _>(&cache),
        Ok(FileKind::Elf32) => parse::<elf::FileHeader32<Endianness>, _>(&cache),
        Ok(_) => return Ok(None),
        Err(error) => Err(error),
    };
    let invalid =
        |error: object::Error| PackError::NotExecutable { path: path.to_owned(), reason: error.to_string() };
    parsed.map_err(invalid)
}

/// Only what a loader would load: programs and shared objects.
fn parse<'d, Elf: FileHeader<Endian = Endianness>, R: ReadRef<'d>>(
    data: R,
) -> object::Result<Option<Object>> {
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Ok(None);
    }
    let segments = header.program_headers(endian, data)?;
    let machine = Machine { is_64: header.is_class_64(), number: header.e_machine(endian) };
    let mut object = Object { interpreter: None, needed: Vec::new(), run_path: Vec::new(), machine };
    for segment in segments {
        if let Some(interpreter) = segment.interpreter(endian, data)? {
            object.interpreter = Some(PathBuf::from(std::ffi::OsStr::from_bytes(interpreter)));
        }
    }
    let Some(dynamic) = segments.iter().find_map(|segment| segment.dynamic(endian, data).transpose()) else {
        return Ok(Some(object));
    };
    let dynamic = dynamic?;
    let value = |tag: i64| {
        let entry = dynamic.iter().find(|entry| entry.tag(endian) == tag);
        entry.map(|entry| entry.val(endian))
    };
    let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else {
        return Ok(Some(object));
    };
    let Some(strings) = strings(segments, endian, data, address, size)? else { return Ok(Some(object)) };
    let text = |offset: u64| -> Option<String> {
        let rest = strings.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    for entry in dynamic.iter().filter(|entry| entry.tag(endian) == elf::DT_NEEDED) {
        object.needed.extend(text(entry.val(endian)));
    }
    let run_path = value(elf::DT_RUNPATH).or_else(|| value(elf::DT_RPATH)).and_then(text);
    object.run_path =
        run_path.unwrap_or_default().split(':').filter(|dir| !dir.is_empty()).map(str::to_owned).collect();
    Ok(Some(object))
}

/// The dynamic string table, found through its address in memory: section headers may be stripped.
fn strings<'d, P: object::read::elf::ProgramHeader<Endian = Endianness>, R: ReadRef<'d>>(
    segments: &[P],
    endian: Endianness,
    data: R,
    address: u64,
    size: u64,
) -> object::Result<Option<&'d [u8]>> {
    for segment in segments {
        let start: u64 = segment.p_vaddr(endian).into();
        let file_size: u64 = segment.p_filesz(endian).into();
        let within = address.checked_sub(start).filter(|offset| offset.saturating_add(size) <= file_size);
        if let (elf::PT_LOAD, Some(within)) = (segment.p_type(endian), within) {
            // Not through the segment's data: that would read all of it.
            let offset = segment.p_offset(endian).into().saturating_add(within);
            return Ok(data.read_bytes_at(offset, size).ok());
        }
    }
    Ok(None)
}

/// Where the dynamic loader of this system looks.
#[derive(Debug)]
pub(super) struct Search {
    dirs: Vec<PathBuf>,
}

impl Search {
    pub(super) fn of_system() -> Self {
        let mut dirs = Vec::new();
        read_configuration(Path::new("/etc/ld.so.conf"), &mut dirs, 0);
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        for dir in ["/lib", "/usr/lib"] {
            dirs.push(Path::new(dir).join(&triplet));
        }
        dirs.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
        dirs.retain(|dir| dir.is_dir());
        Self { dirs }
    }

    /// The file that the loader would take for a library of `object`, which lies at `path`.
    pub(super) fn find(&self, library: &str, object: &Object, path: &Path) -> Option<PathBuf> {
        let fits = |path: &PathBuf| matches!(read(path), Ok(Some(found)) if found.machine == object.machine);
        if library.contains('/') {
            return Some(PathBuf::from(library)).filter(fits);
        }
        let origin = fs::canonicalize(path).ok()?.parent()?.to_string_lossy().into_owned();
        let run_path = object
            .run_path
            .iter()
            .map(|dir| PathBuf::from(dir.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin)));
        let candidates = run_path.chain(self.dirs.iter().cloned()).map(|dir| dir.join(library));
        candidates.into_iter().find(|path| path.is_file() && fits(path))
    }

    /// Where a library goes in an image: into the directory in which this system has its C library, which its loader
    /// searches without any configuration.
    pub(super) fn place(&self, library: &str) -> PathBuf {
        let home = self.dirs.iter().rev().find(|dir| dir.join("libc.so.6").exists());
        // The earliest of the built-in ones; `/etc/ld.so.conf` may name the same directory by another path.
        let home = home.map_or(Path::new("/lib"), PathBuf::as_path);
        let built_in = Path::new("/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let home = if built_in.join("libc.so.6").exists() { &built_in } else { home };
        home.join(library.rsplit('/').next().unwrap_or(library))
    }
}

/// `/etc/ld.so.conf`: directories and `include` patterns, whose last component may hold `*`.
fn read_configuration(path: &Path, dirs: &mut Vec<PathBuf>, depth: u32) {
    let Ok(text) = fs::read_to_string(path) else { return };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include ") {
            if depth < 8 {
                for path in matching(Path::new(pattern.trim())) {
                    read_configuration(&path, dirs, depth + 1);
                }
            }
        } else if line.starts_with('/') {
            dirs.push(PathBuf::from(line));
        }
    }
}

fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let dir = Path::new("/etc").join(dir);
    let Some((prefix, suffix)) = name.split_once('*') else { return vec![dir.join(name)] };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let fits = |name: &str| name.starts_with(prefix) && name.ends_with(suffix);
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(fits))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}
