//! The HTTP service that the examples deploy: one program that can be each tier of a small platform.
//!
//! What it does follows from its environment, so that one image serves every tier:
//! - `USER_SERVICE_URL=http://user:8081` makes it a gateway: requests below `/user` and `/users` go there, and so
//!   for every other variable of that form.
//! - `DATABASE_URL=postgres://…` makes it keep its records in PostgreSQL; without it they are kept in memory.
//! - `PORT`, `SERVICE_NAME` and `VERSION` say where it listens and what it calls itself.
//!
//! It stops as a good tenant does: on SIGTERM it finishes what it was asked and takes nothing new. It knows
//! nothing of Mainstay or Kubernetes.

mod config;
mod gateway;
mod records;
mod server;

pub use config::Config;
pub use server::run;
