//! A tree as a layer archive: the same tree gives the same bytes.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use registry::Digest;
use sha2::Digest as _;
use tar::{EntryType, Header};

use super::tree::{Node, Tree};
use crate::PackError;

/// Writes the archive; its digest and size.
pub(super) fn write(tree: &Tree, path: &Path) -> Result<(Digest, u64), PackError> {
    let failed = |source| PackError::Read { path: path.to_owned(), source };
    let file = io::BufWriter::with_capacity(256 << 10, File::create(path).map_err(failed)?);
    let mut builder = tar::Builder::new(Hashing { inner: file, hash: sha2::Sha256::new(), size: 0 });
    for (place, node) in tree.nodes() {
        add(&mut builder, place, node)?;
    }
    let mut out = builder.into_inner().map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok((Digest::from_sha256(out.hash), out.size))
}

/// Owner, group and time are always zero: they are accidents of the machine that packs.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn add(builder: &mut tar::Builder<impl Write>, place: &Path, node: &Node) -> Result<(), PackError> {
    let (from, result) = match node {
        Node::Directory { mode } => {
            let mut header = header(EntryType::Directory, *mode, 0);
            (place, builder.append_data(&mut header, place, io::empty()))
        }
        Node::Symlink { target } => {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            (place, builder.append_link(&mut header, place, target))
        }
        Node::Text { text } => {
            let mut header = header(EntryType::Regular, 0o644, text.len() as u64);
            (place, builder.append_data(&mut header, place, text.as_bytes()))
        }
        Node::File { source, mode, .. } => {
            let file = super::open(source)?;
            let size = file
                .metadata()
                .map_err(|error| PackError::Read { path: source.clone(), source: error })?
                .len();
            let mut header = header(EntryType::Regular, *mode, size);
            // A file that grows meanwhile must not shift what follows.
            (source.as_path(), builder.append_data(&mut header, place, Exactly { inner: file, left: size }))
        }
    };
    result.map_err(|source| PackError::Read { path: from.to_owned(), source })
}

struct Exactly {
    inner: File,
    left: u64,
}

impl io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..room])?;
        if read == 0 && room > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

struct Hashing<W> {
    inner: W,
    hash: sha2::Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
