//! Requests for certificates.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::Problems;
use super::field::Field;
use super::names::{self, Form};

/// What a certificate may be for, sorted.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";

pub(super) fn request(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    if old.is_some() {
        // Upstream's strategy keeps the specification as it was.
        return;
    }
    let root = Field::root(object);
    let spec = root.get("spec");
    let request = spec.get("request");
    if let Err(problem) = read(request.text()) {
        request.invalid_as(request.text().into(), problem, problems);
    }
    let usages = spec.get("usages");
    usages.need(problems);
    usages.items().for_each(|usage| usage.one_of_if_set(&USAGES, problems));
    let mut seen = BTreeSet::new();
    for usage in usages.items() {
        if !seen.insert(usage.text()) {
            usage.duplicate(problems);
        }
    }
    let signer = spec.get("signerName");
    if signer.text() == LEGACY_SIGNER {
        signer.invalid("the legacy signerName is not allowed via this API version", problems);
    } else {
        signer_name(&signer, problems);
    }
    let lifetime = spec.get("expirationSeconds");
    if lifetime.int().is_some_and(|seconds| seconds < 600) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        lifetime.invalid(detail, problems);
    }
}

fn read(encoded: &str) -> Result<(), String> {
    const TYPE: &str = "PEM block type must be CERTIFICATE REQUEST";
    let pem = STANDARD.decode(encoded).map_err(|_| TYPE.to_owned())?;
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| TYPE.to_owned())?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(TYPE.to_owned());
    }
    X509CertificationRequest::from_der(&block.contents)
        .map(drop)
        .map_err(|error| format!("x509: malformed certificate request: {error}"))
}

/// `example.com/signer`.
pub(super) fn signer_name(signer: &Field<'_, '_>, problems: &mut Problems) {
    const DOMAIN: usize = 253;
    const WHOLE: usize = 571;
    if !signer.need(problems) {
        return;
    }
    let text = signer.text();
    let Some((domain, path)) = text.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        signer.invalid(detail, problems);
        return;
    };
    if domain.len() > DOMAIN {
        signer.too_long(DOMAIN, problems);
    }
    parts(signer, domain, Form::Label, problems);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        signer.invalid_as(domain.into(), detail, problems);
    }
    parts(signer, path, Form::Subdomain, problems);
    if text.len() > WHOLE {
        signer.too_long(WHOLE, problems);
    }
}

fn parts(signer: &Field<'_, '_>, text: &str, form: Form, problems: &mut Problems) {
    for part in text.split('.') {
        let wrong = names::problems(form, part);
        if wrong.is_empty() {
            continue;
        }
        for problem in wrong {
            signer.invalid_as(text.into(), format!("validating label {part:?}: {problem}"), problems);
        }
        return;
    }
}
