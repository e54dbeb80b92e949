//! The HTTP Proxy: Kafka over HTTP, through a Kafka client of its own. Source: redpanda.md 3.3.
//!
//! [`topics`] needs no state; [`consumers`] does, and keeps it in [`instances`]: a consumer is known to the
//! broker that made it, and to no other. Who asks with a user and password gets a Kafka client that logs in
//! with them ([`clients`]). Left out, with 50101: what Confluent's proxy has beyond Redpanda's (a topic's
//! details, assignments, positions); Avro, and automatic commits.

mod call;
mod clients;
mod consumers;
mod error;
mod format;
mod instances;
mod partitioner;
mod topics;

use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use hopwise_security::sasl::{Login, Mechanism};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::call::Call;
use self::clients::ClientCache;
use self::error::{ErrorCode, ProxyError};
use self::format::CONTROL;
use self::instances::Instances;
use crate::config::{Authentication, HostPort, Listener};
use crate::http::json as json_response;
use crate::kafka_client::KafkaClient;
use crate::node::Node;
use crate::security::service_users::Service;
use crate::security::{http_basic, users};

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 8 << 20;

/// What the listeners of one broker share.
#[derive(Clone)]
pub(crate) struct HttpProxy {
    node: Arc<Node>,
    instances: Arc<Instances>,
    clients: Arc<Mutex<ClientCache<Arc<KafkaClient>>>>,
}

/// One listener's view.
struct Proxy {
    node: Arc<Node>,
    instances: Arc<Instances>,
    clients: Arc<Mutex<ClientCache<Arc<KafkaClient>>>>,
    /// Whether clients come with a user and password.
    with_users: bool,
    /// What a consumer's address begins with.
    base_uri: String,
    /// Counts records without key and partition.
    turn: AtomicU64,
}

type Shared = Arc<Proxy>;
type Answered = Result<Answer, ProxyError>;

/// An answer that is no refusal.
struct Answer(Option<(&'static str, Value)>);

impl Answer {
    fn json(content_type: &'static str, body: Value) -> Answer {
        Answer(Some((content_type, body)))
    }

    fn nothing() -> Answer {
        Answer(None)
    }
}

impl HttpProxy {
    pub fn new(node: &Arc<Node>) -> HttpProxy {
        let settings = &node.config.services;
        let clients = ClientCache::new(settings.client_cache_max_size, settings.client_keep_alive);
        HttpProxy {
            instances: Instances::new(settings.consumer_instance_timeout, node.tasks.clone()),
            clients: Arc::new(Mutex::new(clients)),
            node: Arc::clone(node),
        }
    }

    /// The routes of a listener.
    pub fn router(&self, listener: &Listener) -> Router {
        let proxy = Proxy {
            node: Arc::clone(&self.node),
            instances: Arc::clone(&self.instances),
            clients: Arc::clone(&self.clients),
            with_users: listener.authentication == Authentication::HttpBasic,
            base_uri: base_uri(listener),
            turn: AtomicU64::new(0),
        };
        let instance = |rest: &str| format!("/consumers/{{group}}/instances/{{instance}}{rest}");
        Router::new()
            .route("/brokers", on(GET, topics::brokers))
            .route("/topics", on(GET, topics::topics))
            .route("/topics/{topic}", on(POST, topics::produce).merge(on(GET, not_implemented)))
            .route("/topics/{topic}/partitions", on(GET, not_implemented))
            .route("/topics/{topic}/partitions/{partition}/records", on(GET, topics::fetch))
            .route("/consumers/{group}", on(POST, consumers::create))
            .route(&instance(""), on(DELETE, consumers::delete))
            .route(
                &instance("/subscription"),
                on(POST, consumers::subscribe).merge(on(GET.or(DELETE), not_implemented)),
            )
            .route(&instance("/records"), on(GET, consumers::records))
            .route(&instance("/offsets"), on(GET, consumers::offsets).merge(on(POST, consumers::commit)))
            .route(&instance("/assignments"), on(GET.or(POST), not_implemented))
            .route(&instance("/positions"), on(POST, not_implemented))
            .route("/status/ready", axum::routing::get(|| async { StatusCode::OK }))
            .fallback(|| async { refusal(&ProxyError::http(StatusCode::NOT_FOUND, "Not found")) })
            .method_not_allowed_fallback(|| async {
                refusal(&ProxyError::http(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"))
            })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Arc::new(proxy))
    }
}

/// The advertised entry of the listener's name, or where it listens if there is none (redpanda.md 3.3).
fn base_uri(listener: &Listener) -> String {
    let bound = || HostPort::new(listener.bind.ip().to_string(), listener.bind.port());
    let address = listener.advertised.clone().unwrap_or_else(bound);
    let scheme = if listener.tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

impl Proxy {
    /// The Kafka client of whoever asks.
    fn client(&self, headers: &HeaderMap) -> Arc<KafkaClient> {
        let user = if self.with_users { http_basic::credentials(headers) } else { None };
        let config = &self.node.config.pandaproxy_client;
        let login = user.clone().map(|(user, password)| {
            let configured = || config.sasl_mechanism.as_deref().and_then(|name| name.parse().ok());
            let mechanism = users::mechanism_of(&self.node, &user).or_else(configured);
            Login::new(mechanism.unwrap_or(Mechanism::ScramSha256), user, password)
        });
        let make = || KafkaClient::new(config, &self.node, Service::HttpProxy, login);
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(Instant::now(), user, make)
    }
}

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const DELETE: MethodFilter = MethodFilter::DELETE;

/// A route to one of our handlers.
fn on<F, Fut>(method: MethodFilter, handler: F) -> MethodRouter<Shared>
where
    F: Fn(Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Answered> + Send,
{
    axum::routing::on(method, async move |call: Call| match handler(call).await {
        Ok(Answer(None)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Answer(Some((content_type, body)))) => json_response(StatusCode::OK, content_type, &body),
        Err(error) => refusal(&error),
    })
}

async fn not_implemented(_call: Call) -> Answered {
    Err(ProxyError::new(ErrorCode::NotImplemented, "this request is not implemented"))
}

/// The body of a refusal.
fn refusal(error: &ProxyError) -> Response {
    let body = json!({"error_code": error.code.number(), "message": error.message});
    let mut response = json_response(error.code.status(), CONTROL, &body);
    if error.code == ErrorCode::BrokerNotAvailable {
        // At once, at another broker (redpanda.md 3.3).
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
    }
    response
}
