//! What generators ask, found out.

use std::sync::Arc;

use applicationsets::{Answer, Question};
use git::Freshness;

use crate::reconcile::Shared;

/// Finds answers out.
pub(super) struct Answers {
    shared: Arc<Shared>,
}

impl Answers {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// The answer to a question, or why there is none.
    pub(super) async fn find_out(&self, question: &Question, refresh: bool) -> Result<Answer, String> {
        match question {
            Question::Repository { url, revision, .. } => {
                let freshness = if refresh { Freshness::Latest } else { Freshness::Recent };
                let opened = self.shared.places.repositories.open(url, revision, freshness).await;
                let snapshot = opened.map_err(|error| error.to_string())?;
                Ok(Answer::Repository(snapshot.tree))
            }
            Question::PullRequests { .. } => {
                Err("the pullRequest generator is not supported: no host of pull requests can be asked"
                    .to_owned())
            }
        }
    }
}
