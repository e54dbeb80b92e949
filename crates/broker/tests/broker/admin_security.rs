//! The Admin API about users and roles, and who may ask it for what.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::admin::{self, controller, delete, error, get, post, put, send};

fn user(name: &str, password: &str) -> Value {
    json!({"username": name, "password": password, "algorithm": "SCRAM-SHA-256"})
}

#[tokio::test]
async fn a_user_is_created_once_changed_and_removed() {
    let brokers = admin::start(2, "").await;
    let ip = controller(&brokers).await.ip;
    assert_eq!(post(ip, "/v1/security/users", &user("ann", "one")).await.status, 200);
    assert_eq!(post(ip, "/v1/security/users", &user("ann", "one")).await.status, 200, "the same again");
    let (status, message) = error(&post(ip, "/v1/security/users", &user("ann", "two")).await);
    assert!(status == 400 && message.contains("exists"), "{message}");
    for broker in &brokers {
        assert_eq!(get(broker.ip, "/v1/security/users").await.body, r#"["ann"]"#);
    }
    let ephemeral = get(ip, "/v1/security/users?include_ephemeral=true").await;
    assert_eq!(ephemeral.body, r#"["ann"]"#);
    let odd = json!({"username": "bob", "password": "x", "algorithm": "MD5"});
    assert_eq!(error(&post(ip, "/v1/security/users", &odd).await).0, 400);
    assert_eq!(error(&post(ip, "/v1/security/users", &user("", "x")).await).0, 400);

    assert_eq!(put(ip, "/v1/security/users/ann", &user("", "two")).await.status, 200);
    assert_eq!(
        post(ip, "/v1/security/users", &user("ann", "two")).await.status,
        200,
        "it is the password now"
    );
    assert_eq!(error(&put(ip, "/v1/security/users/bob", &user("", "x")).await).0, 404);
    assert_eq!(delete(ip, "/v1/security/users/ann").await.status, 200);
    assert_eq!(delete(ip, "/v1/security/users/ann").await.status, 200, "it is gone all the same");
    assert_eq!(get(ip, "/v1/security/users").await.body, "[]");
}

#[tokio::test]
async fn roles_have_members() {
    let brokers = admin::start(1, "").await;
    let ip = brokers[0].ip;
    let created = post(ip, "/v1/security/roles", &json!({"role": "readers"})).await;
    assert_eq!((created.status, created.json()), (201, json!({"role": "readers"})));
    assert_eq!(error(&post(ip, "/v1/security/roles", &json!({"role": "readers"})).await).0, 400);
    assert_eq!(error(&post(ip, "/v1/security/roles", &json!({"role": "a,b"})).await).0, 400);
    let ann = json!({"principal_type": "User", "name": "ann"});
    let path = "/v1/security/roles/readers/members";
    let changed = post(ip, path, &json!({"add": [ann]})).await;
    assert_eq!(changed.json(), json!({"role": "readers", "added": [ann], "removed": []}));
    assert_eq!(get(ip, path).await.json(), json!({"members": [ann]}));
    assert_eq!(
        get(ip, "/v1/security/roles/readers").await.json(),
        json!({"name": "readers", "members": [ann]})
    );
    assert_eq!(error(&post(ip, path, &json!({})).await).0, 400);
    let group = json!({"add": [{"principal_type": "Group", "name": "x"}]});
    assert_eq!(error(&post(ip, path, &group).await).0, 400);
    let other = "/v1/security/roles/writers/members";
    assert_eq!(error(&post(ip, other, &json!({"add": [ann]})).await).0, 404);
    assert_eq!(post(ip, &format!("{other}?create=true"), &json!({"add": [ann]})).await.status, 200);

    let names = |query: &str| {
        let path = format!("/v1/security/roles{query}");
        async move { get(ip, &path).await.json() }
    };
    assert_eq!(names("").await, json!({"roles": [{"name": "readers"}, {"name": "writers"}]}));
    assert_eq!(names("?filter=wr").await, json!({"roles": [{"name": "writers"}]}));
    assert_eq!(names("?principal=bob&principal_type=User").await, json!({"roles": []}));
    assert_eq!(get(ip, "/v1/security/roles?principal=bob").await.status, 400);
    assert_eq!(delete(ip, "/v1/security/roles/readers?delete_acls=true").await.status, 204);
    assert_eq!(delete(ip, "/v1/security/roles/readers").await.status, 204, "it is gone all the same");
    assert_eq!(error(&get(ip, "/v1/security/roles/readers").await).0, 404);
}

#[tokio::test]
async fn levels_are_asked_for_once_authentication_is_on() {
    let brokers = admin::start(1, "").await;
    let ip = brokers[0].ip;
    for name in ["root", "ann"] {
        assert_eq!(post(ip, "/v1/security/users", &user(name, "secret")).await.status, 200);
    }
    let on =
        |superusers: Value| json!({"upsert": {"admin_api_require_auth": true, "superusers": superusers}});
    let refused = put(ip, "/v1/cluster_config", &on(json!([]))).await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["admin_api_require_auth"].as_str().unwrap().contains("superusers"));
    assert_eq!(put(ip, "/v1/cluster_config", &on(json!(["root"]))).await.status, 200);

    let ask = |name: &'static str, password: &'static str, path: &'static str| async move {
        let credentials = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        let headers = [("authorization", credentials.as_str())];
        let headers = if name.is_empty() { &headers[..0] } else { &headers[..] };
        send(ip, "GET", path, headers, "").await
    };
    for public in [
        "/v1/status/ready",
        "/v1/cluster/health_overview",
        "/v1/cluster/uuid",
        "/v1/cluster_config/schema",
        "/v1/cluster/partition_balancer/status",
        "/public_metrics",
    ] {
        assert_eq!(ask("", "", public).await.status, 200, "{public}");
    }
    for (path, user_may) in [
        ("/v1/brokers", true),
        ("/v1/partitions", true),
        ("/v1/features", true),
        ("/v1/cluster_config", false),
        ("/v1/node_config", false),
        ("/v1/security/users", false),
        ("/v1/maintenance", false),
    ] {
        let nobody = ask("", "", path).await;
        assert_eq!(error(&nobody).0, 401, "{path}");
        assert!(nobody.header("www-authenticate").unwrap().starts_with("basic realm="), "{}", nobody.head);
        assert_eq!(ask("ann", "wrong", path).await.status, 401, "{path}");
        assert_eq!(ask("ann", "secret", path).await.status, if user_may { 200 } else { 403 }, "{path}");
        assert_eq!(ask("root", "secret", path).await.status, 200, "{path}");
    }
    let roles = ask("ann", "secret", "/v1/security/users/roles").await;
    assert_eq!(roles.json(), json!({"roles": []}));
}
