//! What goes wrong while syncing: whatever it is, the cluster ends as Git describes it, and nothing else is touched.

mod deaths;
mod platform;
mod seeds;

/// How many rounds a test takes; `cargo xtask soak faults` asks for more.
fn rounds(usual: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask soak faults` asks for more")]
    let asked = std::env::var("MAINSTAY_SOAK_FAULTS");
    asked.map_or(usual, |number| number.parse().expect("MAINSTAY_SOAK_FAULTS is a number"))
}
