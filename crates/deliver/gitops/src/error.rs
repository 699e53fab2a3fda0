//! What ends a pass early; the queue repeats it.

/// A pass could not read or write what it needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("reconcile application")]
    Api(#[from] client::Error),
}
