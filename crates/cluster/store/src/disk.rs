//! The file: one table of objects, one of the store's own figures.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
};

use crate::{Config, Error, Key, Object, Revision};

/// Key as [`Key::on_disk`]; value: the revision in 8 bytes, big endian, then the object.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// The store's own figures, by name.
const FIGURES: TableDefinition<'_, &str, u64> = TableDefinition::new("figures");

const FORMAT: &str = "format";
const REVISION: &str = "revision";
/// What this version writes. Raise it with a migration in [`Disk::prepare`].
const CURRENT_FORMAT: u64 = 1;
const HEADER: usize = size_of::<Revision>();

#[derive(Debug)]
pub(crate) struct Disk {
    database: Database,
}

/// A write as the disk sees it.
pub(crate) enum Change<'a> {
    Put(&'a Key, &'a Object),
    Remove(&'a Key),
}

pub(crate) fn failed(attempt: &'static str, source: impl Into<redb::Error>) -> Error {
    Error::Disk { attempt, source: Arc::new(source.into()) }
}

fn opened(result: Result<Database, DatabaseError>) -> Result<Disk, Error> {
    match result {
        Ok(database) => {
            let disk = Disk { database };
            disk.prepare()?;
            Ok(disk)
        }
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(Error::InUse),
        Err(source) => Err(failed("open the store file", source)),
    }
}

fn builder(config: &Config) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(config.cache_bytes);
    builder
}

pub(crate) fn open_file(path: &Path, config: &Config) -> Result<Disk, Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| failed("open the store file", redb::Error::Io(source)))?;
    opened(builder(config).create_file(file))
}

pub(crate) fn open_backend(backend: impl StorageBackend, config: &Config) -> Result<Disk, Error> {
    opened(builder(config).create_with_backend(backend))
}

impl Disk {
    /// Records the format in a new file, refuses one that is newer than this version.
    fn prepare(&self) -> Result<(), Error> {
        let attempt = "read the store's format";
        let mut transaction = self.database.begin_write().map_err(|source| failed(attempt, source))?;
        transaction.set_quick_repair(true);
        {
            let mut figures = transaction.open_table(FIGURES).map_err(|source| failed(attempt, source))?;
            transaction.open_table(OBJECTS).map_err(|source| failed(attempt, source))?;
            let found =
                figures.get(FORMAT).map_err(|source| failed(attempt, source))?.map(|found| found.value());
            match found {
                Some(found) if found > CURRENT_FORMAT => {
                    return Err(Error::Format { found, supported: CURRENT_FORMAT });
                }
                Some(_) => return Ok(()),
                None => {
                    figures.insert(FORMAT, CURRENT_FORMAT).map_err(|source| failed(attempt, source))?;
                    figures.insert(REVISION, 0).map_err(|source| failed(attempt, source))?;
                }
            }
        }
        transaction.commit().map_err(|source| failed("record the store's format", source))
    }

    /// Everything there is, and the revision of the last write.
    pub(crate) fn load(&self) -> Result<(Revision, Vec<(Key, Object)>), Error> {
        let attempt = "read the store's objects";
        let transaction = self.database.begin_read().map_err(|source| failed(attempt, source))?;
        let figures = transaction.open_table(FIGURES).map_err(|source| failed(attempt, source))?;
        let revision = figures.get(REVISION).map_err(|source| failed(attempt, source))?;
        let revision = revision.map_or(0, |revision| revision.value());
        let table = transaction.open_table(OBJECTS).map_err(|source| failed(attempt, source))?;
        let mut objects = Vec::new();
        let mut resource: Arc<str> = "".into();
        for entry in table.iter().map_err(|source| failed(attempt, source))? {
            let (key, value) = entry.map_err(|source| failed(attempt, source))?;
            let corrupt = || Error::Corrupt { entry: key.value().to_owned() };
            let (name, path) = Key::parse_disk(key.value()).ok_or_else(corrupt)?;
            if *resource != *name {
                resource = name.into();
            }
            let (header, bytes) = value.value().split_at_checked(HEADER).ok_or_else(corrupt)?;
            let at = Revision::from_be_bytes(header.try_into().map_err(|_| corrupt())?);
            if at > revision {
                return Err(corrupt());
            }
            let object = Object { revision: at, bytes: Bytes::copy_from_slice(bytes) };
            objects.push((Key::from_parts(resource.clone(), path.into()), object));
        }
        Ok((revision, objects))
    }

    /// Makes a group of changes durable, all or none.
    pub(crate) fn commit<'a>(
        &self,
        changes: impl Iterator<Item = Change<'a>>,
        revision: Revision,
    ) -> Result<(), Error> {
        let attempt = "write to the store file";
        let mut transaction = self.database.begin_write().map_err(|source| failed(attempt, source))?;
        // Reopening after a kill then reads the saved allocator state and need not walk the whole file.
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(OBJECTS).map_err(|source| failed(attempt, source))?;
            for change in changes {
                match change {
                    Change::Put(key, object) => {
                        let length = HEADER + object.bytes.len();
                        let mut place = table
                            .insert_reserve(&*key.on_disk(), length)
                            .map_err(|source| failed(attempt, source))?;
                        let place: &mut [u8] = place.as_mut();
                        place[..HEADER].copy_from_slice(&object.revision.to_be_bytes());
                        place[HEADER..].copy_from_slice(&object.bytes);
                    }
                    Change::Remove(key) => {
                        table.remove(&*key.on_disk()).map_err(|source| failed(attempt, source))?;
                    }
                }
            }
            let mut figures = transaction.open_table(FIGURES).map_err(|source| failed(attempt, source))?;
            figures.insert(REVISION, revision).map_err(|source| failed(attempt, source))?;
        }
        transaction.commit().map_err(|source| failed(attempt, source))
    }
}
