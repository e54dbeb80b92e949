//! Cases of `proxy_misc.json`: health checks over HTTP on the fabric, flows in a node's connection tracking, and pods
//! as endpoints.

mod conntrack;
mod endpoint_slice;
mod health_check;

use libtest_mimic::Trial;
use serde::Deserialize;

use crate::case;

const FILE: &str = "proxy_misc";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the format has to be known, too")]
struct File {
    format: String,
    health_check: Vec<health_check::Case>,
    conntrack: conntrack::Cases,
    endpoint_slice: Vec<endpoint_slice::Case>,
}

/// The cases.
pub fn trials() -> Vec<Trial> {
    let file: File = case::read("proxy_misc.json");
    let mut trials: Vec<Trial> = file.health_check.into_iter().map(health_check::trial).collect();
    trials.extend(conntrack::trials(file.conntrack));
    trials.extend(file.endpoint_slice.into_iter().map(endpoint_slice::trial));
    trials
}
