//! Who may ask for what: each route has a level, and `admin_api_require_auth` says whether it is looked at.
//!
//! The HTTP listener finds out who asks and leaves the [`Principal`] in the request's extensions. Source:
//! redpanda.md 3.1.2.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::answer::AdminError;
use crate::kafka::principal::Principal;
use crate::node::Node;
use crate::security::users::is_superuser;

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
                let asks = node.property("admin_api_require_auth") == true;
                match allowed(level, asks, &who, |user| is_superuser(&node, user)) {
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

fn allowed(
    level: Level,
    asks: bool,
    who: &Principal,
    is_superuser: impl Fn(&str) -> bool,
) -> Result<(), Denied> {
    match (level, who) {
        (Level::Public, _) => Ok(()),
        _ if !asks => Ok(()),
        (_, Principal::Anonymous) => Err(Denied::Unauthenticated),
        (Level::Superuser, Principal::User(name)) if !is_superuser(name) => Err(Denied::NoSuperuser),
        _ => Ok(()),
    }
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
                AdminError::new(StatusCode::FORBIDDEN, "Forbidden: only superusers may do this")
                    .into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_looked_at_only_when_asked_for() {
        let user = |name: &str| Principal::User(name.to_owned());
        let check = |level, asks, who: &Principal| allowed(level, asks, who, |name| name == "root");
        assert_eq!(check(Level::Superuser, false, &Principal::Anonymous), Ok(()));
        assert_eq!(check(Level::Public, true, &Principal::Anonymous), Ok(()));
        assert_eq!(check(Level::User, true, &Principal::Anonymous), Err(Denied::Unauthenticated));
        assert_eq!(check(Level::User, true, &user("ann")), Ok(()));
        assert_eq!(check(Level::Superuser, true, &user("ann")), Err(Denied::NoSuperuser));
        assert_eq!(check(Level::Superuser, true, &user("root")), Ok(()));
    }
}
