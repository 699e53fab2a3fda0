//! A small image to push.

use std::path::Path;

use bytes::Bytes;
use registry::{Descriptor, Digest, Manifest, Upload};

pub(crate) fn descriptor(kind: &str, content: &[u8]) -> Descriptor {
    Descriptor { media_type: kind.to_owned(), digest: Digest::of(content), size: content.len() as u64 }
}

/// One layer of some bytes; registries do not look inside.
pub(crate) fn image(dir: &Path, layer: &[u8]) -> Upload {
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let parts = [
        (descriptor("application/vnd.oci.image.config.v1+json", config), config.as_slice(), "config"),
        (descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer), layer, "layer"),
    ];
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": parts[0].0,
        "layers": [parts[1].0],
    });
    let blobs = parts.map(|(descriptor, content, name)| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        (descriptor, path)
    });
    let manifest = Manifest::parse(Bytes::from(manifest.to_string())).unwrap();
    Upload { manifest, blobs: blobs.to_vec() }
}
