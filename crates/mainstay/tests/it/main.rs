//! The binary as a person runs it: real containers, real `kubectl`, real HTTP.
#![expect(clippy::print_stderr, reason = "a failed test shows what the program said")]

mod backup;
mod checkmate;
mod commands;
mod crash;
mod demo;
mod images;
mod install;
mod kubectl;
mod platform;
mod quiet;
mod render;
mod stopping;
