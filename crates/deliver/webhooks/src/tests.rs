use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "open sesame";

fn secrets() -> Secrets {
    Secrets::read(|key| match key {
        "webhook.azuredevops.username" => "argo".to_owned(),
        "webhook.bitbucket.uuid" => "{0d9c}".to_owned(),
        _ => SECRET.to_owned(),
    })
}

fn headers(entries: &[(&str, &str)]) -> HeaderMap {
    let entry = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    entries.iter().map(entry).collect()
}

fn tag(algorithm: hmac::Algorithm, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(algorithm, SECRET.as_bytes()), body.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The headers of each host for a body, signed.
fn sent(host: Host, body: &str) -> Vec<(&'static str, String)> {
    let sha256 = tag(hmac::HMAC_SHA256, body);
    let prefixed = format!("sha256={sha256}");
    match host {
        Host::GitHub => vec![("X-GitHub-Event", "push".to_owned()), ("X-Hub-Signature-256", prefixed)],
        Host::Gogs => vec![
            ("X-GitHub-Event", "push".to_owned()),
            ("X-Gogs-Event", "push".to_owned()),
            ("X-Gogs-Signature", sha256),
        ],
        Host::GitLab => {
            vec![("X-Gitlab-Event", "Push Hook".to_owned()), ("X-Gitlab-Token", SECRET.to_owned())]
        }
        Host::Bitbucket => {
            vec![("X-Event-Key", "repo:push".to_owned()), ("X-Hook-UUID", "{0d9c}".to_owned())]
        }
        Host::BitbucketServer => {
            vec![("X-Event-Key", "repo:refs_changed".to_owned()), ("X-Hub-Signature", prefixed)]
        }
        Host::AzureDevOps => {
            vec![
                ("X-Vss-Activityid", "1".to_owned()),
                ("Authorization", "Basic YXJnbzpvcGVuIHNlc2FtZQ==".to_owned()),
            ]
        }
        Host::Generic => {
            vec![("X-Mainstay-Event", "push".to_owned()), ("X-Mainstay-Signature-256", prefixed)]
        }
    }
}

/// A push to `main`, the default branch, of `https://HOST/team/shop`, that changed `apps/web/a.yaml`.
fn body(host: Host) -> Value {
    let url = "https://git.example.org/team/shop";
    let commits = json!([{"added": ["apps/web/a.yaml"], "modified": null, "removed": []}]);
    match host {
        Host::GitHub | Host::Gogs => json!({
            "ref": "refs/heads/main", "before": "1", "after": "2", "commits": commits,
            "repository": {"html_url": url, "default_branch": "main"},
        }),
        Host::GitLab => json!({
            "object_kind": "push", "ref": "refs/heads/main", "before": "1a", "commits": commits,
            "total_commits_count": 1, "project": {"web_url": url, "default_branch": "main"},
        }),
        Host::Bitbucket => json!({
            "repository": {"links": {"html": {"href": url}}},
            "push": {"changes": [{"new": {"name": "main"}, "old": null}]},
        }),
        Host::BitbucketServer => json!({
            "repository": {"links": {"clone": [
                {"name": "ssh", "href": "ssh://git@git.example.org:7999/team/shop.git"},
                {"name": "http", "href": "https://git.example.org/scm/team/shop.git"},
            ]}},
            "changes": [{"ref": {"id": "refs/heads/main"}}],
        }),
        Host::AzureDevOps => json!({
            "eventType": "git.push",
            "resource": {
                "refUpdates": [{"name": "refs/heads/main"}],
                "repository": {"remoteUrl": url, "defaultBranch": "refs/heads/main"},
            },
        }),
        Host::Generic => json!({
            "repository": url, "ref": "refs/heads/main", "defaultBranch": "main", "files": ["apps/web/a.yaml"],
        }),
    }
}

const HOSTS: [Host; 7] = [
    Host::AzureDevOps,
    Host::Bitbucket,
    Host::BitbucketServer,
    Host::Generic,
    Host::GitHub,
    Host::GitLab,
    Host::Gogs,
];

fn receive_from(host: Host, sent: &[(&'static str, String)], body: &str) -> Result<Event, Refusal> {
    let entries: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let headers = headers(&entries);
    assert_eq!(Host::of(&headers), Some(host));
    receive(&headers, body.as_bytes(), &secrets())
}

fn push_of(host: Host, body: &Value) -> Push {
    let body = body.to_string();
    match receive_from(host, &sent(host, &body), &body) {
        Ok(Event::Push(push)) => push,
        other => panic!("{host}: {other:?}"),
    }
}

#[test]
fn a_signed_push_of_every_host_is_understood() {
    for host in HOSTS {
        let push = push_of(host, &body(host));
        assert!(
            push.is_of("https://git.example.org/team/shop.git") || host == Host::BitbucketServer,
            "{host}"
        );
        assert!(push.is_of("git@git.example.org:team/shop") || host == Host::BitbucketServer, "{host}");
        assert!(!push.is_of("https://git.example.org/team/other"), "{host}");
        assert!(push.moves("main") && push.moves("HEAD") && push.moves(""), "{host}");
        assert!(!push.moves("stage"), "{host}");
        assert!(push.touches(&["apps/web".to_owned()]), "{host}");
        let lists_files = !matches!(host, Host::Bitbucket | Host::BitbucketServer | Host::AzureDevOps);
        assert_eq!(push.touches(&["apps/db".to_owned()]), !lists_files, "{host}");
    }
    let server = push_of(Host::BitbucketServer, &body(Host::BitbucketServer));
    assert!(server.is_of("ssh://git@git.example.org:7999/team/shop.git"));
    assert!(server.is_of("https://someone@git.example.org/scm/team/shop"));
}

#[test]
fn a_request_without_its_signature_is_refused() {
    for host in HOSTS {
        let body = body(host).to_string();
        let sent = sent(host, &body);
        let (proof, without) = sent.split_last().unwrap();
        // The UUID is what tells Bitbucket's cloud from its server.
        if host != Host::Bitbucket {
            let refused = receive_from(host, without, &body).unwrap_err();
            assert!(matches!(refused, Refusal::Unsigned { .. }), "{host}: {refused}");
        }
        for wrong in
            ["sha256=00", "sha1=zz", "Basic !!", "{0d9d}", &format!("sha256={}", tag(hmac::HMAC_SHA256, "x"))]
        {
            let mut other = without.to_vec();
            other.push((proof.0, wrong.to_owned()));
            let refused = receive_from(host, &other, &body).unwrap_err();
            assert!(matches!(refused, Refusal::Signature { .. }), "{host}: {refused}");
            assert!(!refused.to_string().contains(SECRET), "{refused}");
        }
    }
}

#[test]
fn a_changed_body_does_not_match_its_signature() {
    for host in [Host::GitHub, Host::Gogs, Host::BitbucketServer, Host::Generic] {
        let text = body(host).to_string();
        let refused = receive_from(host, &sent(host, &text), &text.replace("shop", "shoq")).unwrap_err();
        assert!(matches!(refused, Refusal::Signature { .. }), "{host}: {refused}");
    }
}

#[test]
fn githubs_older_signature_counts_only_without_the_newer() {
    let text = body(Host::GitHub).to_string();
    let older = ("X-Hub-Signature", format!("sha1={}", tag(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &text)));
    let event = ("X-GitHub-Event", "push".to_owned());
    assert!(receive_from(Host::GitHub, &[event.clone(), older.clone()], &text).is_ok());
    let both = [event.clone(), older.clone(), ("X-Hub-Signature-256", "sha256=00".to_owned())];
    assert!(receive_from(Host::GitHub, &both, &text).is_err());
    // Nor may it stand where the newer one belongs, or at another host.
    let weak = [event, ("X-Hub-Signature-256", older.1.clone())];
    assert!(receive_from(Host::GitHub, &weak, &text).is_err());
    let server = body(Host::BitbucketServer).to_string();
    let tag = format!("sha1={}", tag(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &server));
    let weak = [("X-Event-Key", "repo:refs_changed".to_owned()), ("X-Hub-Signature", tag)];
    assert!(receive_from(Host::BitbucketServer, &weak, &server).is_err());
}

#[test]
fn without_a_secret_hosts_are_believed_but_not_anybody() {
    for host in HOSTS {
        let text = body(host).to_string();
        let sent = sent(host, &text);
        let entries: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let outcome = receive(&headers(&entries), text.as_bytes(), &Secrets::default());
        assert_eq!(outcome.is_ok(), host != Host::Generic, "{host}: {outcome:?}");
    }
}

#[test]
fn what_is_not_handled_says_what_is() {
    let of = |entries: &[(&str, &str)], body: &str| {
        receive(&headers(entries), body.as_bytes(), &Secrets::default()).unwrap_err().to_string()
    };
    assert_eq!(of(&[("Content-Type", "application/json")], "{}"), "Unknown webhook event");
    let issues = of(&[("X-GitHub-Event", "issues")], "{}");
    assert_eq!(
        issues,
        "GitHub events of the type \"issues\" are not handled; push, pull_request and ping are"
    );
    let form = of(&[("X-GitHub-Event", "push")], "payload=%7B%7D");
    assert!(form.contains("it is no JSON (line 1"), "{form}");
    let other = of(&[("X-GitHub-Event", "push")], r#"{"ref": 1}"#);
    assert!(other.contains("not of the type"), "{other}");
    let nowhere = of(&[("X-Gitlab-Event", "Push Hook")], r#"{"ref": "refs/heads/main"}"#);
    assert!(nowhere.contains("names no repository"), "{nowhere}");
    assert!(of(&[("X-GitHub-Event", &"x".repeat(500))], "").len() < 200);
    let ping = receive(&headers(&[("X-GitHub-Event", "ping")]), b"{}", &Secrets::default());
    assert!(matches!(ping, Ok(Event::Ping)), "{ping:?}");
}

#[test]
fn spellings_of_a_repository_are_those_of_argo_cd() {
    let push = push_of(Host::GitHub, &body(Host::GitHub));
    for same in [
        "https://git.example.org/team/shop",
        "HTTPS://Git.Example.org/Team/shop.git",
        "http://git.example.org:8080/team/shop",
        "git.example.org/team/shop",
        "ssh://git@git.example.org:22/team/shop.git",
        "ssh://git@ssh.git.example.org:443/team/shop.git",
        "git@altssh.git.example.org:team/shop.git",
        "https://some.user@git.example.org/team/shop",
    ] {
        assert!(push.is_of(same), "{same}");
    }
    for other in [
        "https://git.example.org/team/shop/",
        "https://git.example.org/team/shop-2",
        "https://gitxexample.org/team/shop",
        "https://git.example.org.evil.org/team/shop",
        "https://evil.org/git.example.org/team/shop",
        "oci://git.example.org/team/shop",
    ] {
        assert!(!push.is_of(other), "{other}");
    }
}

#[test]
fn revisions_are_compared_as_argo_cd_does() {
    let pushed = |reference: &str| {
        let mut payload = body(Host::GitHub);
        payload["ref"] = reference.into();
        push_of(Host::GitHub, &payload)
    };
    for (reference, target, moves) in [
        ("refs/heads/main", "main", true),
        ("refs/heads/main", "refs/heads/main", true),
        ("refs/heads/stage", "HEAD", false),
        ("refs/heads/stage", "", false),
        ("refs/heads/feature/x", "feature/x", true),
        ("refs/heads/feature/x", "x", false),
        ("refs/tags/v1.4.2", "v1.4.2", true),
        ("refs/tags/v1.4.2", "1.4.*", true),
        ("refs/tags/v1.4.2", ">=2", false),
        ("refs/tags/nightly", "1.4.*", false),
        // Branches and tags of one name are not told apart.
        ("refs/heads/x", "refs/tags/x", true),
        ("refs/heads/main", "1f0e3dad99908345f7439f8ffabdffc4", false),
    ] {
        assert_eq!(pushed(reference).moves(target), moves, "{reference} {target}");
    }
}

#[test]
fn paths_narrow_whom_a_push_concerns() {
    let paths = |annotation: &str| refresh_paths(annotation, "apps/web");
    assert_eq!(paths("."), ["apps/web"]);
    assert_eq!(paths(" . ; ../shared;/base ; "), ["apps/web", "apps/shared", "base"]);
    assert_eq!(paths("../../../../x"), ["x"]);
    let push = push_of(Host::GitHub, &body(Host::GitHub));
    for (annotation, touches) in [
        (".", true),
        ("", true),
        ("/", true),
        ("/apps/w", false),
        ("/apps/web/a.yaml", true),
        ("/apps/*/a.yaml", true),
        ("/apps/*.yaml", false),
        ("/base;../db", false),
    ] {
        assert_eq!(push.touches(&paths(annotation)), touches, "{annotation}");
    }
}

#[test]
fn a_list_of_files_that_may_be_short_narrows_nothing() {
    let elsewhere = ["apps/db".to_owned()];
    for (field, value) in [("forced", json!(true)), ("created", json!(true)), ("commits", json!([]))] {
        let mut payload = body(Host::GitHub);
        payload[field] = value;
        assert!(push_of(Host::GitHub, &payload).touches(&elsewhere), "{field}");
    }
    for (field, value) in [("total_commits_count", json!(21)), ("before", json!("0000000000"))] {
        let mut payload = body(Host::GitLab);
        payload[field] = value;
        assert!(push_of(Host::GitLab, &payload).touches(&elsewhere), "{field}");
    }
}

#[test]
fn pull_requests_concern_their_generators() {
    let payload = |action: &str| {
        json!({"action": action, "repository": {"name": "Shop", "owner": {"login": "Team"},
            "url": "https://api.github.com/repos/Team/Shop"}})
        .to_string()
    };
    let headers = headers(&[("X-GitHub-Event", "pull_request")]);
    let received = |action| receive(&headers, payload(action).as_bytes(), &Secrets::default()).unwrap();
    let Event::PullRequest(pull) = received("labeled") else { panic!("no pull request") };
    assert!(pull.concerns(&json!({"github": {"owner": "team", "repo": "shop"}})));
    assert!(!pull.concerns(&json!({"github": {"owner": "team", "repo": "other"}})));
    assert!(!pull.concerns(
        &json!({"github": {"owner": "team", "repo": "shop", "api": "https://ghe.example.org/api/v3"}})
    ));
    assert!(!pull.concerns(&json!({"gitlab": {"project": "team/shop"}})));
    assert!(matches!(received("assigned"), Event::Ping));
}

proptest! {
    /// Whatever arrives is answered.
    #[test]
    fn nothing_makes_it_panic(
        header in prop::sample::select(vec![
            "x-github-event", "x-gogs-event", "x-gitlab-event", "x-hook-uuid", "x-event-key", "x-vss-activityid",
            "x-mainstay-event", "x-hub-signature", "x-hub-signature-256", "authorization",
        ]),
        value in "[ -~]{0,40}",
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let entries = [(header, value.as_str()), ("x-github-event", "push")];
        let _ = receive(&headers(&entries), &body, &secrets());
        let _ = receive(&headers(&entries), &body, &Secrets::default());
    }

    /// Addresses, branches and files of a payload that is well formed may be anything.
    #[test]
    fn nothing_in_a_payload_makes_it_panic(url in "\\PC{0,60}", reference in "\\PC{0,20}", file in "\\PC{0,20}", path in "\\PC{0,20}") {
        let payload = json!({"ref": reference, "repository": {"html_url": url}, "commits": [{"added": [file]}]});
        let headers = headers(&[("x-github-event", "push")]);
        if let Ok(Event::Push(push)) = receive(&headers, payload.to_string().as_bytes(), &Secrets::default()) {
            let _ = push.is_of(&url) | push.moves(&path) | push.touches(&refresh_paths(&path, &file));
        }
    }
}
