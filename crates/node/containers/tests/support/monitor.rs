//! The program that the tests of this crate re-execute as monitor; the product does the same with its own binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    containers::monitor_main(std::env::args().skip(1).collect())
}
