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

/// By which path a status is written: who approves does not sign, and who signs does not approve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Status,
    Approval,
}

/// What was decided on a request, and the certificate. Faults that were there before are borne with.
pub(super) fn status(by: Written, old: &Value, object: &Value, problems: &mut Problems) {
    const DECISIONS: [&str; 2] = ["Approved", "Denied"];
    let root = Field::root(object);
    let status = root.get("status");
    let list = status.get("conditions");
    let (before, now) = (Decisions(&old["status"]["conditions"]), Decisions(list.value()));
    let mut seen = BTreeSet::new();
    for condition in list.items() {
        let (kind, met) = (condition.get("type"), condition.get("status"));
        if kind.text().is_empty() && before.of("").is_empty() {
            kind.required("", problems);
        }
        let allowed: &[&str] = match kind.text() {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        if met.text().is_empty() {
            met.required("", problems);
        } else if !allowed.contains(&met.text()) {
            met.not_supported(allowed, problems);
        }
        let other = DECISIONS.iter().find(|other| **other != kind.text());
        if DECISIONS.contains(&kind.text())
            && other.is_some_and(|other| seen.contains(other))
            && !before.both()
        {
            list.invalid_as(
                kind.text().into(),
                "Approved and Denied conditions are mutually exclusive",
                problems,
            );
        }
        if !seen.insert(kind.text()) && !before.repeated() {
            kind.duplicate(problems);
        }
    }
    let certificate = status.get("certificate");
    let was = &old["status"]["certificate"];
    if let Err(problem) = certificates(certificate.text())
        && certificates(was.as_str().unwrap_or_default()).is_ok()
    {
        certificate.invalid_as("<certificate data>".into(), problem, problems);
    }
    for kind in ["Approved", "Denied", "Failed"] {
        if now.of(kind).len() < before.of(kind).len() {
            list.forbidden(format!("updates may not remove a condition of type {kind:?}"), problems);
        }
    }
    if by == Written::Status {
        for kind in DECISIONS {
            let (now, before) = (now.of(kind), before.of(kind));
            if now.len() > before.len() {
                list.forbidden(format!("updates may not add a condition of type {kind:?}"), problems);
            } else if now.len() == before.len() && now != before {
                list.forbidden(format!("updates may not modify a condition of type {kind:?}"), problems);
            }
        }
        let was = was.as_str().unwrap_or_default();
        if !was.is_empty() && certificate.text() != was {
            certificate.forbidden("updates may not modify existing certificate content", problems);
        }
    }
}

/// The conditions of a request.
#[derive(Clone, Copy)]
struct Decisions<'v>(&'v Value);

impl<'v> Decisions<'v> {
    fn all(self) -> impl Iterator<Item = &'v Value> {
        self.0.as_array().into_iter().flatten()
    }

    fn of(self, kind: &str) -> Vec<&'v Value> {
        self.all().filter(|condition| condition["type"].as_str().unwrap_or_default() == kind).collect()
    }

    fn both(self) -> bool {
        !self.of("Approved").is_empty() && !self.of("Denied").is_empty()
    }

    fn repeated(self) -> bool {
        let mut seen = BTreeSet::new();
        !self.all().all(|condition| seen.insert(condition["type"].as_str().unwrap_or_default()))
    }
}

/// One certificate or more, as PEM; nothing is one that is not signed yet.
fn certificates(encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Ok(());
    }
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    let mut count = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(&pem).map_while(Result::ok) {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        block.parse_x509().map_err(|error| format!("x509: malformed certificate: {error}"))?;
        count += 1;
    }
    if count == 0 { Err("must contain at least one CERTIFICATE PEM block".to_owned()) } else { Ok(()) }
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
