//! Hashes, keys and certificates.

mod aes;
mod derive;

use std::any::Any as StdAny;
use std::net::IpAddr;

use sha2::{Digest, Sha256, Sha512};

use super::Type::{Certificate as Cert, Int, List as Items, Str as Text, Uint32};
use super::{Function, fixed, int, text};
use crate::environment::{CertificateRequest, Certificates};
use crate::error::Error;
use crate::exec::Machine;
use crate::value::{Field, Object, Value};

const ONE: &[super::Type] = &[Text];

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("sha1sum", ONE, |_, args| Ok(hex(&derive::sha1(text(args, 0))).into())),
    fixed("sha256sum", ONE, |_, args| Ok(hex(&Sha256::digest(text(args, 0).as_bytes())).into())),
    fixed("sha512sum", ONE, |_, args| Ok(hex(&Sha512::digest(text(args, 0).as_bytes())).into())),
    fixed("adler32sum", ONE, |_, args| Ok(adler32(text(args, 0)).to_string().into())),
    fixed("bcrypt", ONE, |machine, args| {
        let hash = certificates(machine, "bcrypt")?.bcrypt(text(args, 0));
        Ok(hash.unwrap_or_else(|error| format!("failed to encrypt string with bcrypt: {error}")).into())
    }),
    fixed("htpasswd", &[Text, Text], htpasswd),
    fixed("derivePassword", &[Uint32, Text, Text, Text, Text], |_, args| {
        Ok(derive::password(int(args, 0), text(args, 1), text(args, 2), text(args, 3), text(args, 4)).into())
    }),
    fixed("genPrivateKey", ONE, |machine, args| {
        let kind = text(args, 0).text().into_owned();
        let key = certificates(machine, "genPrivateKey")?.private_key(&kind);
        Ok(key.unwrap_or_else(|error| error).into())
    }),
    fixed("genCA", &[Text, Int], |machine, args| {
        issue(machine, CertificateRequest { is_ca: true, ..request(args, 1) })
    }),
    fixed("genCAWithKey", &[Text, Int, Text], |machine, args| {
        let key = Some(text(args, 2).text().into_owned());
        issue(machine, CertificateRequest { is_ca: true, key, ..request(args, 1) })
    }),
    fixed("genSelfSignedCert", &[Text, Items, Items, Int], |machine, args| {
        issue(machine, named_request(args)?)
    }),
    fixed("genSelfSignedCertWithKey", &[Text, Items, Items, Int, Text], |machine, args| {
        let key = Some(text(args, 4).text().into_owned());
        issue(machine, CertificateRequest { key, ..named_request(args)? })
    }),
    fixed("genSignedCert", &[Text, Items, Items, Int, Cert], |machine, args| {
        let signer = signer(&args[4]);
        issue(machine, CertificateRequest { signer, ..named_request(args)? })
    }),
    fixed("genSignedCertWithKey", &[Text, Items, Items, Int, Cert, Text], |machine, args| {
        let key = Some(text(args, 5).text().into_owned());
        let signer = signer(&args[4]);
        issue(machine, CertificateRequest { signer, key, ..named_request(args)? })
    }),
    fixed("buildCustomCert", &[Text, Text], build_custom),
    fixed("encryptAES", &[Text, Text], |machine, args| {
        let mut start = [0; aes::BLOCK];
        machine.mark_nondeterministic();
        machine.environment().random(&mut start).map_err(Error::new)?;
        Ok(aes::encrypt(text(args, 0), text(args, 1), start).into())
    }),
    fixed("decryptAES", &[Text, Text], |_, args| {
        aes::decrypt(text(args, 0), text(args, 1)).map(Value::from).map_err(Error::new)
    }),
];

/// A certificate with its key, as `genCA` and its kin give them.
#[derive(Debug, PartialEq, Eq)]
struct Issued {
    certificate: String,
    key: String,
}

impl Object for Issued {
    fn type_name(&self) -> &'static str {
        "sprig.certificate"
    }

    fn field(&self, name: &str) -> Option<Field> {
        match name {
            "Cert" => Some(Field::Value(self.certificate.as_str().into())),
            "Key" => Some(Field::Value(self.key.as_str().into())),
            _ => None,
        }
    }

    fn display(&self) -> String {
        format!("{{{} {}}}", self.certificate, self.key)
    }

    fn plain(&self) -> Value {
        [("Cert", Value::from(self.certificate.as_str())), ("Key", Value::from(self.key.as_str()))]
            .into_iter()
            .collect()
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn StdAny {
        self
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), &byte| {
        let low = (low + u32::from(byte)) % MODULUS;
        (low, (high + low) % MODULUS)
    });
    high << 16 | low
}

fn certificates<'e>(machine: &mut Machine<'e>, function: &str) -> Result<&'e dyn Certificates, Error> {
    machine.mark_nondeterministic();
    machine
        .environment()
        .certificates()
        .ok_or_else(|| Error::new(format!("{function} is not supported here: nothing makes keys")))
}

fn issue(machine: &mut Machine<'_>, request: CertificateRequest) -> Result<Value, Error> {
    let (certificate, key) =
        certificates(machine, "making a certificate")?.certificate(&request).map_err(Error::new)?;
    Ok(Value::object(Issued { certificate, key }))
}

fn request(args: &[Value], days: usize) -> CertificateRequest {
    CertificateRequest {
        common_name: text(args, 0).text().into_owned(),
        days: int(args, days),
        ..CertificateRequest::default()
    }
}

fn named_request(args: &[Value]) -> Result<CertificateRequest, Error> {
    let items = |index: usize| args[index].as_list().map(crate::value::List::to_vec).unwrap_or_default();
    let mut request = request(args, 3);
    for item in items(1) {
        let Some(ip) = item.as_str() else {
            let item = crate::format::to_text(&item);
            return Err(format!("error parsing ip: {item} is not a string").into());
        };
        let parsed: Result<IpAddr, _> = ip.text().parse();
        request.ips.push(parsed.map_err(|_| Error::new(format!("error parsing ip: {ip}")))?);
    }
    for item in items(2) {
        let Some(name) = item.as_str() else {
            let item = crate::format::to_text(&item);
            return Err(format!("error processing alternate dns name: {item} is not a string").into());
        };
        request.dns_names.push(name.text().into_owned());
    }
    Ok(request)
}

fn signer(value: &Value) -> Option<(String, String)> {
    let Value::Object(object) = value else { return None };
    let issued: &Issued = object.as_any().downcast_ref()?;
    Some((issued.certificate.clone(), issued.key.clone()))
}

fn build_custom(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let decode = |index: usize, what: &str| {
        let bytes = super::encoding::decode_base64(text(args, index))
            .map_err(|_| Error::new(format!("unable to decode base64 {what}")))?;
        Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let certificate = decode(0, "certificate")?;
    let key = decode(1, "private key")?;
    if !certificate.contains("-----BEGIN ") {
        return Err("unable to decode certificate".into());
    }
    if !key.contains("-----BEGIN ") {
        return Err("error parsing private key: no PEM data in input".into());
    }
    Ok(Value::object(Issued { certificate, key }))
}

fn htpasswd(machine: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let user = text(args, 0);
    if user.contains(&b':') {
        return Ok(format!("invalid username: {user}").into());
    }
    let hash = certificates(machine, "htpasswd")?.bcrypt(text(args, 1));
    let hash = hash.unwrap_or_else(|error| format!("failed to encrypt string with bcrypt: {error}"));
    Ok(format!("{user}:{hash}").into())
}
