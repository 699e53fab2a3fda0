//! Objects before and after they have a revision.

use bytes::Bytes;

use crate::Revision;

/// What is to be written: bytes, and where in them the revision of the write belongs. The store decides the revision,
/// so it is the store that completes the bytes.
#[derive(Debug, Clone)]
pub struct Draft {
    bytes: Vec<u8>,
    revision_at: Option<usize>,
}

impl Draft {
    /// Bytes that do not carry their revision.
    #[must_use]
    pub fn plain(bytes: Vec<u8>) -> Draft {
        Draft { bytes, revision_at: None }
    }

    /// Bytes into which the revision is spliced, in decimal digits, at `offset`.
    ///
    /// # Panics
    /// If `offset` is past the end.
    #[must_use]
    pub fn with_revision_at(bytes: Vec<u8>, offset: usize) -> Draft {
        assert!(offset <= bytes.len(), "the revision's place must be inside the bytes");
        Draft { bytes, revision_at: Some(offset) }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes as they would be at `revision`.
    #[must_use]
    pub fn seal(self, revision: Revision) -> Object {
        let bytes = match self.revision_at {
            None => self.bytes,
            Some(at) => {
                let digits = revision.to_string();
                let mut whole = Vec::with_capacity(self.bytes.len() + digits.len());
                whole.extend_from_slice(&self.bytes[..at]);
                whole.extend_from_slice(digits.as_bytes());
                whole.extend_from_slice(&self.bytes[at..]);
                whole
            }
        };
        Object { revision, bytes: Bytes::from(bytes) }
    }
}

/// One state of an object: immutable, shared by everybody who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The revision of the write that made it.
    pub revision: Revision,
    pub bytes: Bytes,
}
