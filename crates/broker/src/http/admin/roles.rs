//! Roles and their members. Source: redpanda.md 3.1.1, 3.1.3 (writes are sent on to the controller).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{AdminError, Answer, json_of, ok, read};
use super::redirect::{Origin, to_controller};
use crate::cluster::command::{Applied, Command};
use crate::cluster::roles::RoleMember;
use crate::node::Node;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/security/roles", access.superuser(get(list).post(create)))
        .route("/v1/security/roles/{role}", access.superuser(get(role).delete(remove)))
        .route("/v1/security/roles/{role}/members", access.superuser(get(members).post(update)))
        .route("/v1/security/users/roles", access.user(get(own_roles)))
}

fn unknown(name: &str) -> AdminError {
    AdminError::not_found(format!("role '{name}' not found"))
}

/// The names of these roles, as the API lists them.
fn names<'a>(roles: impl Iterator<Item = &'a str>) -> Value {
    json!({"roles": roles.map(|name| json!({"name": name})).collect::<Vec<_>>()})
}

fn member_list<'a>(members: impl IntoIterator<Item = &'a RoleMember>) -> Value {
    let entry = |member: &RoleMember| json!({"principal_type": member.principal_type, "name": member.name});
    members.into_iter().map(entry).collect()
}

#[derive(Deserialize)]
struct Wanted {
    /// Only roles whose name begins so.
    filter: Option<String>,
    principal: Option<String>,
    principal_type: Option<String>,
}

async fn list(State(node): State<Arc<Node>>, Query(wanted): Query<Wanted>) -> Answer {
    if wanted.principal.is_some() != wanted.principal_type.is_some() {
        return Err(AdminError::bad_request("principal and principal_type go together"));
    }
    let prefix = wanted.filter.unwrap_or_default();
    let member = wanted.principal.zip(wanted.principal_type);
    let member = member.map(|(name, principal_type)| RoleMember { principal_type, name });
    let has = |members: &BTreeSet<RoleMember>| member.as_ref().is_none_or(|member| members.contains(member));
    let listed = node.with_cluster(|cluster| {
        let roles = cluster.state.roles.iter();
        let meant = roles.filter(|(name, members)| name.starts_with(&prefix) && has(members));
        names(meant.map(|(name, _)| name.as_str()))
    });
    ok(listed)
}

/// The roles of whoever asks.
async fn own_roles(
    State(node): State<Arc<Node>>,
    who: Option<axum::Extension<crate::kafka::principal::Principal>>,
) -> Answer {
    let Some(axum::Extension(crate::kafka::principal::Principal::User(name))) = who else {
        return ok(names(std::iter::empty()));
    };
    ok(node.with_cluster(|cluster| names(cluster.state.roles_of(&name))))
}

#[derive(Deserialize)]
struct NewRole {
    role: String,
}

async fn create(State(node): State<Arc<Node>>, origin: Origin, body: Bytes) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let NewRole { role } = read(&body)?;
    let legal = |c: char| !c.is_control() && c != ',' && c != '=';
    if role.is_empty() || role.len() > 1024 || !role.chars().all(legal) {
        let message = "a role's name has 1 to 1024 bytes and no control characters, commas or equals signs";
        return Err(AdminError::bad_request(message));
    }
    super::submit(&node, Command::CreateRole { name: role.clone() }).await?;
    json_of(StatusCode::CREATED, &json!({"role": role}))
}

async fn role(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer {
    let members = node.with_cluster(|cluster| cluster.state.roles.get(&name).cloned());
    let members = members.ok_or_else(|| unknown(&name))?;
    ok(json!({"name": name, "members": member_list(&members)}))
}

async fn members(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer {
    let members = node.with_cluster(|cluster| cluster.state.roles.get(&name).cloned());
    ok(json!({"members": member_list(&members.ok_or_else(|| unknown(&name))?)}))
}

#[derive(Deserialize)]
struct Removal {
    #[serde(default)]
    delete_acls: Option<bool>,
}

/// A role that is not there is as good as removed.
async fn remove(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(removal): Query<Removal>,
    origin: Origin,
) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    if node.with_cluster(|cluster| cluster.state.roles.contains_key(&name)) {
        let delete_acls = removal.delete_acls == Some(true);
        super::submit(&node, Command::DeleteRole { name, delete_acls }).await?;
    }
    json_of(StatusCode::NO_CONTENT, &Value::Null).map(|mut response| {
        *response.body_mut() = axum::body::Body::empty();
        response
    })
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    add: Vec<RoleMember>,
    #[serde(default)]
    remove: Vec<RoleMember>,
}

#[derive(Deserialize)]
struct How {
    #[serde(default)]
    create: Option<bool>,
}

async fn update(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(how): Query<How>,
    origin: Origin,
    body: Bytes,
) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let Change { add, remove } = read(&body)?;
    if add.is_empty() && remove.is_empty() {
        return Err(AdminError::bad_request("neither a member to add nor one to remove is named"));
    }
    if let Some(other) = add.iter().chain(&remove).find(|member| member.principal_type != "User") {
        let message = format!("principal_type \"{}\" is not taken; members are Users", other.principal_type);
        return Err(AdminError::bad_request(message));
    }
    let create = how.create == Some(true);
    match super::submit(&node, Command::UpdateRole { name: name.clone(), add, remove, create }).await? {
        Applied::RoleMembers { added, removed } => {
            ok(json!({"role": name, "added": member_list(&added), "removed": member_list(&removed)}))
        }
        other => Err(AdminError::unavailable(format!("the controller answers otherwise: {other:?}"))),
    }
}
