//! Why a text could not be read.

/// A refusal, worded as Go's library words it (`yaml: line 3: mapping values are not allowed in this context`).
///
/// Go counts the lines of parser errors from zero and those of scanner errors from one; the text keeps that so
/// that it equals what Helm and kubectl print. [`Error::line`] always counts from one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    line: usize,
    column: usize,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>, line: usize, column: usize) -> Self {
        Self { message: message.into(), line, column }
    }

    /// The line of the trouble, counted from one.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column of the trouble in characters, counted from one.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}
