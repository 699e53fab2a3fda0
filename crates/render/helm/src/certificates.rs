//! Keys and certificates for `genCA` and its kin, made from the rendering's seed.

mod dsa;
mod primes;

use gotmpl::{CertificateRequest, Certificates};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rsa::{BigUint, RsaPrivateKey};

use crate::render::World;

/// The time in whole seconds, which is all that certificates know.
macro_rules! date {
    ($time:expr) => {{
        let seconds = $time.as_second();
        let size = std::time::Duration::from_secs(seconds.unsigned_abs());
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        if seconds < 0 { epoch - size } else { epoch + size }
    }};
}

/// What Go's `x509` uses for `genCA`.
const CA_BITS: usize = 2048;
/// What Sprig uses for `genPrivateKey`.
const KEY_BITS: usize = 4096;
/// Go's default.
const BCRYPT_COST: u32 = 10;

impl World<'_> {
    /// A key of 2048 or 4096 bits.
    fn rsa_key(&self, bits: usize) -> Result<RsaPrivateKey, String> {
        let failed = |error: String| format!("error generating rsa key: {error}");
        let mut fill = |buffer: &mut [u8]| gotmpl::Environment::random(self, buffer);
        let words = match bits {
            CA_BITS => primes::pair::<16, 20>(&mut fill).map(|pair| pair.map(|prime| prime.to_vec())),
            _ => primes::pair::<32, 40>(&mut fill).map(|pair| pair.map(|prime| prime.to_vec())),
        };
        let [first, second] = words.map_err(failed)?.map(|words| {
            let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            BigUint::from_bytes_le(&bytes)
        });
        RsaPrivateKey::from_p_q(first, second, BigUint::from(primes::EXPONENT))
            .map_err(|error| failed(error.to_string()))
    }
}

/// A key as it signs, and as the chart gets it.
struct Key {
    pair: KeyPair,
    pem: String,
}

impl Key {
    fn rsa(key: &RsaPrivateKey) -> Result<Self, String> {
        let der = key.to_pkcs8_der().map_err(|error| error.to_string())?;
        let pair = KeyPair::try_from(der.as_bytes()).map_err(|error| error.to_string())?;
        let pem = key.to_pkcs1_pem(LineEnding::LF).map_err(|error| error.to_string())?;
        Ok(Self { pair, pem: pem.to_string() })
    }

    /// A key in any of the forms Sprig reads.
    fn parse(pem: &str) -> Result<Self, String> {
        let pem = pem.trim_start();
        if pem.starts_with("-----BEGIN RSA PRIVATE KEY-----") {
            let key = rsa::pkcs1::DecodeRsaPrivateKey::from_pkcs1_pem(pem)
                .map_err(|error: rsa::pkcs1::Error| format!("parsing RSA private key from PEM: {error}"))?;
            return Self::rsa(&key);
        }
        if !pem.starts_with("-----BEGIN ") {
            return Err("no PEM data in input".to_owned());
        }
        if let Ok(key) = RsaPrivateKey::from_pkcs8_pem(pem) {
            return Self::rsa(&key);
        }
        let pair = KeyPair::from_pem(pem).map_err(|error| format!("decoding PEM as PKCS#8: {error}"))?;
        Ok(Self { pair, pem: pem.to_owned() })
    }
}

impl Certificates for World<'_> {
    fn private_key(&self, kind: &str) -> Result<String, String> {
        let mut probe = [0; 16];
        gotmpl::Environment::random(self, &mut probe)?;
        let failed = |error: String| format!("failed to generate private key: {error}");
        match kind {
            "" | "rsa" => {
                let key = self.rsa_key(KEY_BITS).map_err(failed)?;
                Ok(key.to_pkcs1_pem(LineEnding::LF).map_err(|error| failed(error.to_string()))?.to_string())
            }
            "ecdsa" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
                .map(|pair| pair.serialize_pem())
                .map_err(|error| failed(error.to_string())),
            "ed25519" => KeyPair::generate_for(&rcgen::PKCS_ED25519)
                .map(|pair| pair.serialize_pem())
                .map_err(|error| failed(error.to_string())),
            "dsa" => {
                dsa::private_key(&mut |buffer| gotmpl::Environment::random(self, buffer)).map_err(failed)
            }
            _ => Err(format!("Unknown type {kind}")),
        }
    }

    fn certificate(&self, request: &CertificateRequest) -> Result<(String, String), String> {
        let mut serial = [0; 16];
        gotmpl::Environment::random(self, &mut serial)?;
        let key = match &request.key {
            Some(pem) => Key::parse(pem).map_err(|error| format!("parsing private key: {error}"))?,
            None => Key::rsa(&self.rsa_key(CA_BITS)?)?,
        };
        let params = self.params(request, &serial)?;
        let created = |error: rcgen::Error| format!("error creating certificate: {error}");
        let certificate: Certificate = match &request.signer {
            None => params.self_signed(&key.pair).map_err(created)?,
            Some((certificate, signing_key)) => {
                if !certificate.contains("-----BEGIN CERTIFICATE-----") {
                    return Err("unable to decode certificate".to_owned());
                }
                let signing_key =
                    Key::parse(signing_key).map_err(|error| format!("error parsing private key: {error}"))?;
                let issuer = Issuer::from_ca_cert_pem(certificate, signing_key.pair).map_err(|error| {
                    format!("error parsing certificate: decodedSignerCert.Bytes: {error}")
                })?;
                params.signed_by(&key.pair, &issuer).map_err(created)?
            }
        };
        Ok((unix_lines(&certificate.pem()), unix_lines(&key.pem)))
    }

    fn bcrypt(&self, password: &[u8]) -> Result<String, String> {
        if password.len() > 72 {
            return Err("bcrypt: password length exceeds 72 bytes".to_owned());
        }
        let mut salt = [0; 16];
        gotmpl::Environment::random(self, &mut salt)?;
        let parts = bcrypt::hash_with_salt(password, BCRYPT_COST, salt).map_err(|error| error.to_string())?;
        Ok(parts.format_for_version(bcrypt::Version::TwoA))
    }
}

fn unix_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

impl World<'_> {
    fn params(&self, request: &CertificateRequest, serial: &[u8]) -> Result<CertificateParams, String> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, request.common_name.as_str());
        params.distinguished_name = name;
        for ip in &request.ips {
            params.subject_alt_names.push(SanType::IpAddress(*ip));
        }
        for dns in &request.dns_names {
            let dns = dns.as_str().try_into().map_err(|_| format!("error creating certificate: {dns:?}"))?;
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
        let start = gotmpl::Environment::now(self);
        let end = start
            .checked_add(jiff::SignedDuration::from_hours(request.days.saturating_mul(24)))
            .map_err(|_| "error creating certificate: validity out of range".to_owned())?;
        params.not_before = date!(start);
        params.not_after = date!(end);
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if request.is_ca {
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
        }
        params.use_authority_key_identifier_extension = request.signer.is_some();
        Ok(params)
    }
}
