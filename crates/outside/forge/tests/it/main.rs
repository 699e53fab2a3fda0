//! Against a server that speaks GitHub's API.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge::{App, Error, Identity, Pull, Repository, Tokens, pulls};
use rsa::pkcs1::{EncodeRsaPrivateKey as _, EncodeRsaPublicKey as _, LineEnding};
use serde_json::{Value, json};

/// Request lines with the value of `Authorization`.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// Serves until the test's process ends; its address ends with a slash.
fn github() -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let seen = Seen::default();
    let (base, noted) = (address.clone(), Arc::clone(&seen));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &base, &noted).unwrap();
        }
    });
    (address, seen)
}

fn answer(mut stream: TcpStream, base: &str, seen: &Seen) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for line in BufReader::new(&stream).lines() {
        match line? {
            line if line.is_empty() => break,
            line => lines.push(line),
        }
    }
    let request = lines[0].trim_end_matches(" HTTP/1.1").to_owned();
    let header = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    seen.lock().unwrap().push((request.clone(), header.unwrap_or_default()));
    let (status, link, body) = content(&request, base);
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{link}\r\n{body}",
        body.len()
    )
}

fn content(request: &str, base: &str) -> (&'static str, String, Value) {
    let pull = |number: u64, labels: &[&str]| {
        let labels: Vec<Value> = labels.iter().map(|name| json!({"name": name})).collect();
        json!({"number": number, "title": "a title", "user": {"login": "alice"}, "labels": labels,
            "head": {"ref": "feat", "sha": "0123"}, "base": {"ref": "main"}})
    };
    match request {
        "GET /repos/o/r/pulls?state=open&per_page=100" => {
            let link = format!("Link: <{base}repos/o/r/pulls?page=2>; rel=\"next\"\r\n");
            ("200 OK", link, json!([pull(3, &["preview", "x"]), pull(2, &[])]))
        }
        "GET /repos/o/r/pulls?page=2" => {
            let link = "Link: <http://127.0.0.1:1/elsewhere>; rel=\"next\"\r\n".to_owned();
            ("200 OK", link, json!([pull(1, &["preview"])]))
        }
        "POST /app/installations/42/access_tokens" => {
            let answer = json!({"token": "ghs_made", "expires_at": "2999-01-01T00:00:00Z"});
            ("201 Created", String::new(), answer)
        }
        _ => ("404 Not Found", String::new(), json!({"message": "Not Found"})),
    }
}

fn repository(api: &str, name: &str) -> Repository {
    Repository { api: api.to_owned(), owner: "o".to_owned(), name: name.to_owned() }
}

#[tokio::test]
async fn pages_are_read_to_their_end_and_labels_select() {
    let (api, seen) = github();
    let labels = ["preview".to_owned()];
    let identity = Identity::Token("sesame".to_owned());
    let found = pulls(&repository(&api, "r"), &identity, &labels, &Arc::default()).await.unwrap();
    assert_eq!(found.iter().map(|pull| pull.number).collect::<Vec<_>>(), [3, 1]);
    let text = str::to_owned;
    let expected = Pull {
        number: 1,
        title: text("a title"),
        branch: text("feat"),
        target_branch: text("main"),
        head_sha: text("0123"),
        author: text("alice"),
        labels: labels.to_vec(),
    };
    assert_eq!(found[1], expected);
    assert!(seen.lock().unwrap().iter().all(|(_, authorization)| authorization == "Bearer sesame"));

    let error = pulls(&repository(&api, "none"), &identity, &[], &Arc::default()).await.unwrap_err();
    assert!(error.to_string().ends_with("/repos/o/none/pulls: 404 Not Found"), "{error}");
    let closed = pulls(&repository("http://127.0.0.1:1/", "r"), &identity, &[], &Arc::default()).await;
    assert!(matches!(closed, Err(Error::Unreachable { .. })), "{closed:?}");
    assert!(pulls(&repository("file:///etc/", "r"), &identity, &[], &Arc::default()).await.is_err());
    assert!(!format!("{identity:?}").contains("sesame"));
}

#[tokio::test]
async fn an_app_signs_for_a_token_and_keeps_it() {
    let (api, seen) = github();
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    let private_key = key.to_pkcs1_pem(LineEnding::LF).unwrap().to_string();
    let app = App { id: "7".to_owned(), installation: "42".to_owned(), private_key };
    let (identity, tokens) = (Identity::App(app.clone()), Arc::new(Tokens::default()));
    for _ in 0..2 {
        pulls(&repository(&api, "r"), &identity, &[], &tokens).await.unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    let asked: Vec<_> = seen.iter().filter(|(request, _)| request.starts_with("POST")).collect();
    assert_eq!(asked.len(), 1, "{seen:?}");
    let rest = seen.iter().filter(|(request, _)| request.starts_with("GET"));
    assert!(rest.into_iter().all(|(_, authorization)| authorization == "Bearer ghs_made"));

    let jwt = asked[0].1.strip_prefix("Bearer ").unwrap();
    let (message, signature) = jwt.rsplit_once('.').unwrap();
    let public = key.to_public_key().to_pkcs1_der().unwrap();
    let verifier = ring::signature::UnparsedPublicKey::new(
        &ring::signature::RSA_PKCS1_2048_8192_SHA256,
        public.as_bytes(),
    );
    verifier.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(message.split_once('.').unwrap().1).unwrap()).unwrap();
    assert_eq!(claims["iss"], "7");
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 600);

    let broken = Identity::App(App { private_key: "secret words".to_owned(), ..app });
    let error = pulls(&repository(&api, "r"), &broken, &[], &Arc::default()).await.unwrap_err().to_string();
    assert!(error.contains("no private key in PEM") && !error.contains("secret words"), "{error}");
}
