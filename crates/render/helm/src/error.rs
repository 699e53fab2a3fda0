//! Why a chart could not be rendered.

/// A refusal. Where Helm refuses too, the text is Helm's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files are no chart.
    #[error("{0}")]
    Chart(String),
    /// Values or parameters could not be read.
    #[error("{0}")]
    Values(String),
    /// Values do not fit the chart's schema.
    #[error("{0}")]
    Schema(String),
    /// A template could not be parsed or executed, or its output is no YAML.
    #[error("{0}")]
    Render(String),
    /// The tree could not be read.
    #[error("read chart")]
    Tree(#[from] tree::Error),
    /// A path that cannot lie in the tree.
    #[error("{0:?} is no path in the repository")]
    Path(String, #[source] tree::PathError),
}
