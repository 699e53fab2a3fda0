//! Where the checkout and the test data beside it are.

use std::path::{Path, PathBuf};

/// The root of the checkout.
///
/// # Panics
/// Never: this crate lies two directories below it.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/test-kit").to_path_buf()
}

/// A path in the test data that lies beside every checkout.
///
/// # Panics
/// If there is no such file or directory: a test without its data must not pass.
#[must_use]
pub fn shared(path: &str) -> PathBuf {
    let full = workspace().join("../shared").join(path);
    full.canonicalize()
        .unwrap_or_else(|error| panic!("test data ../shared/{path} beside the checkout: {error}"))
}
