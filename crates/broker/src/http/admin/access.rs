//! Who may ask for what: each route has a level, and `admin_api_require_auth` says whether it is looked at.
//!
//! The HTTP listener finds out who asks and leaves the [`Principal`] in the request's extensions. Source:
//! redpanda.md 3.1.2.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::Value;

use super::answer::AdminError;
use crate::cluster::properties;
use crate::kafka::principal::Principal;
use crate::node::Node;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Everybody.
    Public,
    /// Everybody who has authenticated.
    User,
    /// Those that the property `superusers` names.
    Superuser,
}

/// Gives routes their level.
#[derive(Clone)]
pub(super) struct Access {
    node: Arc<Node>,
}

/// The routes of one path.
pub(super) type Routes = MethodRouter<Arc<Node>>;

impl Access {
    pub fn new(node: Arc<Node>) -> Access {
        Access { node }
    }

    /// For everybody.
    pub fn public(&self, routes: Routes) -> Routes {
        self.at(Level::Public, routes)
    }

    /// For everybody who has authenticated.
    pub fn user(&self, routes: Routes) -> Routes {
        self.at(Level::User, routes)
    }

    /// For superusers.
    pub fn superuser(&self, routes: Routes) -> Routes {
        self.at(Level::Superuser, routes)
    }

    fn at(&self, level: Level, routes: Routes) -> Routes {
        let node = Arc::clone(&self.node);
        routes.route_layer(from_fn(move |request: Request, next: Next| {
            let node = Arc::clone(&node);
            async move {
                let who = request.extensions().get::<Principal>().cloned().unwrap_or(Principal::Anonymous);
                let allowed =
                    node.with_cluster(|cluster| allowed(level, &who, &cluster.state.properties));
                match allowed {
                    Ok(()) => next.run(request).await,
                    Err(denied) => denied.into_response(),
                }
            }
        }))
    }
}

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    Unauthenticated,
    NoSuperuser,
}

fn allowed(level: Level, who: &Principal, set: &BTreeMap<String, Value>) -> Result<(), Denied> {
    if level == Level::Public || !properties::flag(set, "admin_api_require_auth") {
        return Ok(());
    }
    let Principal::User(name) = who else { return Err(Denied::Unauthenticated) };
    if level == Level::User {
        return Ok(());
    }
    let superusers = properties::value_of(set, "superusers");
    let named = superusers.as_array().into_iter().flatten().any(|user| user.as_str() == Some(name));
    if named { Ok(()) } else { Err(Denied::NoSuperuser) }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        match self {
            Denied::Unauthenticated => {
                let error = AdminError::new(StatusCode::UNAUTHORIZED, "Unauthorized: authenticate as a user");
                let mut response = error.into_response();
                let wanted = HeaderValue::from_static("Basic realm=\"Redpanda\", charset=\"utf8\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, wanted);
                response
            }
            Denied::NoSuperuser => {
                AdminError::new(StatusCode::FORBIDDEN, "Forbidden: only superusers may do this").into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn levels_are_looked_at_only_when_asked_for() {
        let open = BTreeMap::new();
        let closed = BTreeMap::from([
            ("admin_api_require_auth".to_owned(), json!(true)),
            ("superusers".to_owned(), json!(["root"])),
        ]);
        let user = |name: &str| Principal::User(name.to_owned());
        assert_eq!(allowed(Level::Superuser, &Principal::Anonymous, &open), Ok(()));
        assert_eq!(allowed(Level::Public, &Principal::Anonymous, &closed), Ok(()));
        assert_eq!(allowed(Level::User, &Principal::Anonymous, &closed), Err(Denied::Unauthenticated));
        assert_eq!(allowed(Level::User, &user("ann"), &closed), Ok(()));
        assert_eq!(allowed(Level::Superuser, &user("ann"), &closed), Err(Denied::NoSuperuser));
        assert_eq!(allowed(Level::Superuser, &user("root"), &closed), Ok(()));
    }
}
