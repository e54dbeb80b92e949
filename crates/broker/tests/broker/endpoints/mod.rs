//! Every endpoint of the three HTTP listeners is asked here, and every error code of their tables is produced by a test.
//!
//! `served.txt` lists the endpoints; a unit test of the crate compares it with the routers, so that a route without a
//! request below turns this red. The calls run in order against one cluster. What the endpoints do in depth is in the
//! files of their subjects. Sources: redpanda.md 3.1.1, 3.1.2, 3.3 and 3.4.

mod admin_api;
mod codes;
mod http_proxy;
mod schema_registry;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rest::{Reply, Rest};

const SERVED: &str = include_str!("served.txt");

/// One request and the status that it is answered with.
struct Call {
    method: &'static str,
    path: String,
    body: Option<Value>,
    status: u16,
}

fn call(method: &'static str, path: impl Into<String>, status: u16) -> Call {
    Call { method, path: path.into(), body: None, status }
}

impl Call {
    fn with(self, body: Value) -> Call {
        Call { body: Some(body), ..self }
    }
}

/// The endpoints of one API, and which of them were asked.
struct Coverage {
    api: &'static str,
    asked: BTreeSet<(String, String)>,
}

impl Coverage {
    fn of(api: &'static str) -> Coverage {
        Coverage { api, asked: BTreeSet::new() }
    }

    fn listed(&self) -> Vec<(&'static str, &'static str)> {
        let own = SERVED.lines().filter_map(|line| line.strip_prefix(self.api)?.strip_prefix(' '));
        own.map(|line| line.split_once(' ').expect("METHOD PATH")).collect()
    }

    /// Sends a request; the answer must have the status, and an error must say so in the API's form.
    async fn ask(&mut self, rest: &Rest, call: Call) -> Reply {
        let Call { method, path, body, status } = call;
        let bare = path.split('?').next().expect("a path");
        let mut fitting: Vec<&str> = self
            .listed()
            .into_iter()
            .filter(|(listed, pattern)| *listed == method && fits(pattern, bare))
            .map(|(_, pattern)| pattern)
            .collect();
        // A literal segment comes before a parameter.
        fitting.sort_by_key(|pattern| pattern.matches('{').count());
        let pattern = fitting.first().unwrap_or_else(|| panic!("{} {method} {path} is not listed", self.api));
        self.asked.insert((method.to_owned(), (*pattern).to_owned()));
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let reply = rest.send(method, &path, &[("content-type", rest.content_type)], &text).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        if status >= 400 {
            assert!(reply.json()["message"].is_string(), "{method} {path}: {reply:?}");
        }
        reply
    }

    /// Every endpoint was asked.
    fn check(self) {
        let is_missing =
            |(method, path): &(&str, &str)| !self.asked.contains(&((*method).to_owned(), (*path).to_owned()));
        let missing: Vec<(&str, &str)> = self.listed().into_iter().filter(is_missing).collect();
        assert!(!self.listed().is_empty() && missing.is_empty(), "not asked: {missing:#?}");
    }
}

/// Whether a path is one of a pattern: `{x}` stands for a segment, `{*x}` for all that follow.
fn fits(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(rest), Some(_)) if rest.starts_with("{*") => return true,
            (Some(wanted), Some(given))
                if wanted == given || wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

#[test]
fn patterns_fit_their_paths_alone() {
    assert!(fits("/a/{x}/b", "/a/1/b") && fits("/l/{*n}", "/l/kafka/client") && fits("/a", "/a"));
    assert!(
        !fits("/a/{x}", "/a") && !fits("/a/{x}", "/a/") && !fits("/a/{x}", "/a/1/b") && !fits("/a", "/b")
    );
}
