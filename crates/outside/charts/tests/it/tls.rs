use std::sync::Arc;

use charts::{Charts, ClientCertificate, Config, Error, Freshness, Repository, Tls, Verification};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use test_kit::{FileServer, ImageRegistry, Serving};

use crate::world::World;

const RECENT: Freshness = Freshness::Recent;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.0).unwrap();
        ClientCertificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn server(&self, clients: Option<&Self>) -> Arc<rustls::ServerConfig> {
        let own = self.issue("127.0.0.1");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain =
            CertificateDer::pem_slice_iter(own.certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

#[tokio::test]
async fn servers_are_verified_as_the_repository_says() {
    let world = World::new();
    world.chart("web", "1.0.0");
    world.index();
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let serve = |tls| FileServer::serving(&world.served(), Serving { tls: Some(tls), ..Serving::default() });
    let server = serve(authority.server(None));
    let mutual = serve(authority.server(Some(&of_clients)));
    let trusting = Tls { authorities: authority.0.pem(), ..Tls::default() };
    let skipping = Tls { verification: Verification::Skipped, ..Tls::default() };
    let known = Tls { client: Some(of_clients.issue("us")), ..trusting.clone() };
    let strange = Tls { client: Some(Authority::new().issue("them")), ..trusting.clone() };

    let attempts = [
        (&server, Tls::default(), false),
        (&server, trusting.clone(), true),
        (&server, skipping, true),
        (&mutual, trusting, false),
        (&mutual, known, true),
        (&mutual, strange, false),
    ];
    for (at, (server, tls, expected)) in attempts.into_iter().enumerate() {
        let cache_dir = world.path(&format!("cache-{at}"));
        let charts = Charts::new(Config { cache_dir, ..world.config() });
        let repository = Repository { tls, ..Repository::new(server.url()) };
        let pulled = charts.pull(&repository, "web", "1.0.0", RECENT).await;
        assert_eq!(pulled.is_ok(), expected, "attempt {at}: {pulled:?}");
        if let Err(error) = pulled {
            assert!(matches!(error, Error::Unreachable { .. }), "{error}");
            assert!(error.to_string().contains(&server.url()), "{error}");
        }
    }
    let broken = Tls {
        authorities: "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n".to_owned(),
        ..Tls::default()
    };
    let repository = Repository { tls: broken, ..Repository::new(server.url()) };
    assert!(world.charts().pull(&repository, "web", "", RECENT).await.is_err());
}

/// The real registry with TLS and passwords; the chart is pushed by the real `helm`.
#[tokio::test]
async fn registries_are_verified_too() {
    let world = World::new();
    let archive = world.chart("web", "1.0.0");
    let authority = Authority::new();
    let own = authority.issue("127.0.0.1");
    world.write("helm/ca.pem", &authority.0.pem());
    world.write("helm/tls.crt", &own.certificate);
    world.write("helm/tls.key", &own.key);
    // Alice's password is "sesame".
    let hash = bcrypt::hash("sesame", 5).unwrap();
    world.write("helm/htpasswd", &format!("alice:{hash}\n"));
    let file = |name: &str| world.path("helm").join(name);
    let registry = ImageRegistry::secured(&file("tls.crt"), &file("tls.key"), &file("htpasswd"));
    let place = format!("oci://{}/team", registry.host());
    let ca = file("ca.pem").display().to_string();
    let archive = archive.display().to_string();
    world.helm(&["push", &archive, &place, "--ca-file", &ca, "--username", "alice", "--password", "sesame"]);

    let trusting = Tls { authorities: authority.0.pem(), ..Tls::default() };
    let skipping = Tls { verification: Verification::Skipped, ..Tls::default() };
    let nobody = Tls { authorities: Authority::new().0.pem(), ..Tls::default() };
    let pull = async |tls: Tls, password: &str, version: &str| {
        let repository = Repository {
            username: "alice".to_owned(),
            password: password.to_owned(),
            tls,
            ..Repository::new(&place)
        };
        world.charts().pull(&repository, "web", version, RECENT).await
    };
    assert_eq!(pull(trusting.clone(), "sesame", "*").await.unwrap().version, "1.0.0");
    assert_eq!(pull(skipping, "sesame", "1.0.0").await.unwrap().version, "1.0.0");
    let denied = pull(trusting, "tulip", "1.0.0").await.unwrap_err();
    assert!(matches!(denied, Error::Fetch { .. }) && !denied.to_string().contains("tulip"), "{denied}");
    let unknown = pull(nobody, "sesame", "1.0.0").await.unwrap_err();
    assert!(matches!(unknown, Error::Unreachable { .. }), "{unknown}");
    assert!(unknown.to_string().contains(&format!("{place}/web is unreachable: ")), "{unknown}");
}
