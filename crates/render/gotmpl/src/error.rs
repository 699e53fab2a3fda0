//! Why a template could not be executed.

use std::fmt;

/// An error with Go's text. The causes are those Go's `errors.Unwrap` would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    text: String,
    executing: bool,
    cause: Option<Box<Error>>,
}

impl Error {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), executing: false, cause: None }
    }

    /// `fmt.Errorf("…: %w", cause)`; `text` is what stands before the colon.
    #[must_use]
    pub fn wrap(text: impl fmt::Display, cause: Error) -> Self {
        Self { text: format!("{text}: {cause}"), executing: false, cause: Some(Box::new(cause)) }
    }

    /// A `template.ExecError` whose text stands for itself.
    pub(crate) fn executing(text: String, cause: Option<Error>) -> Self {
        Self { text, executing: true, cause: cause.map(Box::new) }
    }

    /// Whether executing a template failed, rather than finding or parsing one.
    #[must_use]
    pub fn is_executing(&self) -> bool {
        self.executing
    }

    /// The error and its causes, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = &Error> {
        std::iter::successors(Some(self), |error| error.cause.as_deref())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
