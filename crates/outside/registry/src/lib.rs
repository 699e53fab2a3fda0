//! The OCI distribution protocol: names, credentials, mirrors, manifests and blobs.
//!
//! Owns: what goes over the wire between this machine and a registry, and how an image name is read.
//!
//! What must hold: every byte handed on was checked against its digest; every request has a deadline; credentials go only
//! to the host they are for and never into an error or a log.
//!
//! Kept out: what images are stored as, and which are wanted when.

mod credentials;
mod digest;
mod reference;
mod registry;
mod tls;

pub use credentials::{Credentials, Keyring, KeyringError};
pub use digest::{Digest, DigestError};
pub use reference::{Reference, ReferenceError};
pub use registry::{Attempt, Cause, Descriptor, Error, Manifest, Platform, Registry, RegistryConfig, Upload};
pub use tls::{ClientCertificate, Tls, Verification};
