//! Format 1: one redb file with a table of objects and one of the store's own figures. It is read once, when a store that
//! an earlier version wrote is opened, and goes when its contents are durable in the present format.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Builder, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use crate::contents::Contents;
use crate::directory::Directory;
use crate::{Error, Object, Revision, failed, log};

/// The name it had in the store's directory.
pub(crate) const FILE: &str = "objects.redb";

/// Key: resource, a zero byte, path; value: the revision in 8 bytes, big endian, then the object.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// The store's own figures, by name.
const FIGURES: TableDefinition<'_, &str, u64> = TableDefinition::new("figures");

const FORMAT: &str = "format";
const REVISION: &str = "revision";
/// The last format that was such a file.
const LAST: u64 = 1;
const HEADER: usize = size_of::<Revision>();
/// What reading needs; the rest of the memory is the contents'.
const CACHE: usize = 16 << 20;

/// Takes over a store of format 1, if that is what the directory holds. Broken off, it starts over at the next try:
/// nothing is written to the new files before the old one is gone.
pub(crate) fn take_over(path: &Path, directory: &dyn Directory) -> Result<(), Error> {
    let file = path.join(FILE);
    if !file.exists() {
        return Ok(());
    }
    let contents = read(&file)?;
    let attempt = "bring the store to the present format";
    log::found(directory, &contents).map_err(|source| failed(attempt, source))?;
    directory.remove(FILE).and_then(|()| directory.sync()).map_err(|source| failed(attempt, source))?;
    tracing::info!(objects = contents.count(), "the store was brought to the present format");
    Ok(())
}

fn read(path: &Path) -> Result<Contents, Error> {
    let refused = |source: redb::Error| failed("read the store of format 1", std::io::Error::other(source));
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    let database = match builder.open(path) {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(Error::InUse),
        Err(source) => return Err(refused(source.into())),
    };
    let transaction = database.begin_read().map_err(|source| refused(source.into()))?;
    let figures = transaction.open_table(FIGURES).map_err(|source| refused(source.into()))?;
    let figure = |name| -> Result<u64, Error> {
        Ok(figures.get(name).map_err(|source| refused(source.into()))?.map_or(0, |found| found.value()))
    };
    let found = figure(FORMAT)?;
    if found > LAST {
        return Err(Error::Format { found, supported: LAST });
    }
    let mut contents = Contents { revision: figure(REVISION)?, ..Contents::default() };
    let table = transaction.open_table(OBJECTS).map_err(|source| refused(source.into()))?;
    for entry in table.iter().map_err(|source| refused(source.into()))? {
        let (key, value) = entry.map_err(|source| refused(source.into()))?;
        let corrupt = || Error::Corrupt { file: FILE.to_owned(), offset: 0 };
        let (resource, name) = key.value().split_once('\0').ok_or_else(corrupt)?;
        let (header, bytes) = value.value().split_at_checked(HEADER).ok_or_else(corrupt)?;
        let revision = Revision::from_be_bytes(header.try_into().map_err(|_| corrupt())?);
        if revision > contents.revision {
            return Err(corrupt());
        }
        let object = Object { revision, bytes: Bytes::copy_from_slice(bytes) };
        let objects = match contents.resources.get_mut(resource) {
            Some(objects) => objects,
            None => contents.resources.entry(Arc::from(resource)).or_default(),
        };
        objects.insert(name.into(), object);
    }
    Ok(contents)
}
