//! What tests share: the shared test data, waiting for a state, temporary repositories and real servers.
//!
//! For tests only: no crate depends on it otherwise. Servers listen on free loopback ports, keep their data in
//! temporary directories and end with the value that stands for them. Nothing here waits for time to pass: every
//! wait is for a state, with a deadline, and says what it last saw.

mod cluster;
pub mod codedang;
mod faults;
mod file_server;
mod git_server;
mod process;
mod registry;
mod repository;
mod shared;
mod stand_in;
mod wait;

pub use cluster::{Cluster, Listening};
pub use faults::{Calls, Death, Faults, Trouble};
pub use file_server::{FileFault, FileServer, Seen, Serving};
pub use git_server::{GitFault, GitManner, GitServer, GitTrouble};
pub use process::{Process, find_program, free_port};
pub use registry::ImageRegistry;
pub use repository::Repository;
pub use shared::{shared, workspace};
pub use stand_in::StandIn;
pub use wait::{eventually, eventually_async};
