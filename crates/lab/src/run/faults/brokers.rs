//! What operators do to brokers through their Admin API.
//!
//! The requests are those of `rpk redpanda admin brokers decommission` and `rpk cluster maintenance` (redpanda.md 3.1),
//! sent from inside a broker's pod as with `kubectl exec`. Only the controller's leader carries them out, so brokers are
//! asked in turn until one does.

use std::time::Duration;

use hopwise_broker::Api;
use hopwise_kube::cluster::OperationError;
use hopwise_kube::store::pod_state;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};

use super::Stakes;
use crate::programs::RunningBroker;
use crate::scenario::PodName;

/// Between two rounds through all brokers.
const RETRY: Duration = Duration::from_secs(1);
/// How long brokers are asked before it is given up: a new controller's leader is there by then.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Sends a request about the broker in `pod`, whose path ends in `what`.
///
/// # Errors
/// If there is no broker there, or no broker carries the request out.
pub(super) async fn ask(
    stakes: &Stakes<'_>,
    pod: &PodName,
    method: &str,
    what: &str,
    end: Instant,
) -> Result<(), OperationError> {
    let refused = OperationError::Refused;
    let id = stakes.brokers.id_of(&pod.to_string());
    let id = id.ok_or_else(|| refused(format!("the pod {pod} has no broker with an id")))?;
    let give_up = (Instant::now() + GIVE_UP).min(end);
    loop {
        let mut why = "no broker runs".to_owned();
        for broker in stakes.brokers.all() {
            let Some(url) = admin_url(stakes, &broker) else { continue };
            let Ok(asked) = PodName::try_from(broker.pod.clone()) else { continue };
            let script = format!(
                "curl -s -k -m 5 -o /dev/null -w '%{{http_code}}' -X {method} {url}/v1/brokers/{id}/{what}"
            );
            match stakes.cluster.exec(&asked.namespace, &asked.name, &script).await.as_deref().map(str::trim)
            {
                Ok("200" | "204") => return Ok(()),
                // Another broker leads the controller, or will.
                Ok("307" | "503") => why = "no broker leads the controller".to_owned(),
                Ok(status) => {
                    return Err(refused(format!("{method} {url}/v1/brokers/{id}/{what} answers {status}")));
                }
                Err(error) => why = error.to_string(),
            }
        }
        if Instant::now() + RETRY >= give_up {
            return Err(refused(why));
        }
        sleep(RETRY).await;
    }
}

/// Where a broker's Admin API is, from inside the cluster.
fn admin_url(stakes: &Stakes<'_>, broker: &RunningBroker) -> Option<String> {
    let (namespace, name) = broker.pod.split_once('/')?;
    let address = stakes.cluster.api().read(|store| {
        let pod = store.get::<Pod>(namespace, name)?;
        pod_state::addresses(pod).first().map(|address| (*address).to_owned())
    })?;
    let listener = broker.config.listeners().into_iter().find(|listener| listener.api == Api::Admin)?;
    let scheme = if listener.tls { "https" } else { "http" };
    let host = if address.contains(':') { format!("[{address}]") } else { address };
    Some(format!("{scheme}://{host}:{}", listener.bind.port()))
}
