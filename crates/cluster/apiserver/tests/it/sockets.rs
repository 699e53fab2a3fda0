//! Over TLS without a client certificate: nobody in particular, or the bearer of a token.

use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_learn_no_more_than_that_the_server_is_there() {
    let server = Server::start().await;
    let cluster = server.listen().await;
    let stranger = cluster.stranger().await;
    let get =
        async |path: &str| stranger.request_text(http::Request::get(path).body(Vec::new()).unwrap()).await;
    for path in ["/version", "/healthz", "/livez", "/readyz"] {
        get(path).await.unwrap();
    }
    for path in ["/api", "/apis", "/api/v1/namespaces", "/openapi/v3", "/metrics"] {
        let refused = get(path).await.unwrap_err();
        let kube::Error::Api(status) = refused else { panic!("{path}: {refused:?}") };
        assert_eq!(status.code, 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_stands_for_its_account() {
    let server = Server::start().await;
    let cluster = server.listen().await;
    tokio::task::spawn_blocking(move || {
        let token = cluster.run(&["create", "token", "default"]);
        let bearer = |arguments: &[&str]| cluster.kubectl_as(token.trim(), arguments);
        let (done, said) = bearer(&["auth", "whoami"]);
        assert!(done && said.contains("system:serviceaccount:default:default"), "{said}");
        let (done, said) = bearer(&["get", "pods"]);
        assert!(!done && said.contains("cannot list resource \"pods\""), "{said}");
        let forged = format!("{}x", token.trim());
        let (done, said) = cluster.kubectl_as(&forged, &["get", "pods"]);
        assert!(!done && said.contains("Unauthorized"), "{said}");

        // What a role gives it may do, and may pass on no more than that.
        cluster.run(&[
            "create",
            "rolebinding",
            "v",
            "--clusterrole=view",
            "--serviceaccount=default:default",
        ]);
        assert!(bearer(&["get", "pods"]).0);
        assert!(!bearer(&["get", "secrets"]).0);
        cluster.run(&["create", "role", "roles", "--verb=get,create", "--resource=roles"]);
        cluster.run(&["create", "rolebinding", "roles", "--role=roles", "--serviceaccount=default:default"]);
        assert!(bearer(&["create", "role", "own", "--verb=get", "--resource=pods"]).0);
        let (done, said) = bearer(&["create", "role", "more", "--verb=get", "--resource=secrets"]);
        assert!(!done && said.contains("attempting to grant RBAC permissions not currently held"), "{said}");
        cluster.run(&["delete", "serviceaccount", "default"]);
        let (done, said) = bearer(&["get", "pods"]);
        assert!(!done && said.contains("Unauthorized"), "{said}");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_slash_leads_nowhere() {
    let server = Server::start().await;
    let client = server.admin();
    for path in [
        "/api/v1/configmaps/default%2Fkube-root-ca.crt",
        "/api/v1/configmaps/kube-root-ca.crt",
        "/api/v1/namespaces/default%2Fx/configmaps/a",
        "/api/v1/namespaces/default/nodes/a",
    ] {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let refused = client.request_text(request).await.unwrap_err();
        let kube::Error::Api(status) = refused else { panic!("{path}: {refused:?}") };
        assert_eq!(status.message, "the server could not find the requested resource", "{path}");
    }
}
