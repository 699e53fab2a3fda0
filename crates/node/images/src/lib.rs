//! The images of this machine: pulled from registries or packed from local files, unpacked for overlay mounts.
//!
//! Owns: one directory of blobs, unpacked layers and names, and nothing outside it.
//!
//! What must hold: nothing is visible before it is complete, checked against its digest and on disk; an archive can
//! write only beneath its own layer; a layer in use is never changed; concurrent wishes for one image share one pull.
//!
//! Kept out: the wire (`registry`), running (`containers`), back-off and events (`kubelet`).

mod config;
mod error;
mod pack;
mod store;
mod unpack;

pub use config::ImageConfig;
pub use error::{ImageError, OpenError, PackError};
pub use pack::{PackFile, PackRequest, PackSource};
pub use store::{Image, ImageStore, ImageSummary, PullPolicy};
