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
    /// Where what could not be read begins, and what the trouble is, if a parser says so.
    context: Option<(usize, String)>,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>, line: usize, column: usize) -> Self {
        Self { message: message.into(), line, column, context: None }
    }

    /// With the line, counted from zero, on which the mapping or sequence begins that `problem` is in.
    pub(crate) fn begun(mut self, line: usize, problem: &str) -> Self {
        self.context = Some((line, problem.to_owned()));
        self
    }

    /// The text of the library's third version, with which kustomize reads: it names the line on which a broken
    /// mapping or sequence begins, not the one where the trouble shows.
    #[must_use]
    pub fn v3_message(&self) -> String {
        match &self.context {
            Some((line, problem)) if *line > 0 => format!("yaml: line {line}: {problem}"),
            _ => self.message.clone(),
        }
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
