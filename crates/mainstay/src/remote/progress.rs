//! A line that says what a command is waiting for, once it takes longer than a moment, and only to a person.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

/// Nothing is shown of what is done sooner.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(250);
/// Back to the line's start, and what is there gone.
const CLEAR: &str = "\r\u{1b}[2K";

/// Shows until it is dropped.
pub(crate) struct Progress {
    text: Arc<Mutex<String>>,
    shown: Option<JoinHandle<()>>,
    visible: Arc<Mutex<bool>>,
}

impl Progress {
    /// On standard error, if that is a terminal.
    pub(crate) fn start(text: impl Into<String>) -> Self {
        let text = Arc::new(Mutex::new(text.into()));
        let visible = Arc::new(Mutex::new(false));
        let shown = std::io::stderr()
            .is_terminal()
            .then(|| tokio::spawn(show(Arc::clone(&text), Arc::clone(&visible))));
        Self { text, shown, visible }
    }

    pub(crate) fn set(&self, text: impl Into<String>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = self.shown.take() {
            task.abort();
        }
        let mut visible = self.visible.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *visible, false) {
            let _ = write!(std::io::stderr(), "{CLEAR}");
        }
    }
}

async fn show(text: Arc<Mutex<String>>, visible: Arc<Mutex<bool>>) {
    let start = Instant::now();
    let mut ticks = interval_at(start + PATIENCE, STEP);
    loop {
        ticks.tick().await;
        let said = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A line that wraps could not be taken back.
        let line: String = said.chars().filter(|c| !c.is_control()).take(100).collect();
        let mut visible = visible.lock().unwrap_or_else(PoisonError::into_inner);
        *visible = true;
        let mut out = std::io::stderr();
        let _ = write!(out, "{CLEAR}{:>4}s  {line}", start.elapsed().as_secs());
        let _ = out.flush();
    }
}
