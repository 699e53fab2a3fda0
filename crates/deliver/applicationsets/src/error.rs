//! Why there are no Applications.

/// Which step failed, as the reason of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Parameters,
    Template,
}

impl Reason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parameters => "ApplicationGenerationFromParamsError",
            Self::Template => "RenderTemplateParamsError",
        }
    }
}

/// A set that generates nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub reason: Reason,
    /// The text of a condition.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Why a generator gives no parameters.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something has to be found out first; the question is noted.
    Asks,
    Failed(String),
}

impl Stop {
    /// The same failure, with what was attempted.
    pub(crate) fn during(self, what: &str) -> Self {
        match self {
            Self::Asks => Self::Asks,
            Self::Failed(message) => Self::Failed(format!("{what}: {message}")),
        }
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}
