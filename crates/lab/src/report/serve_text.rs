//! `hopwise serve` for people: the listeners, then what a client is given to start with.

use std::fmt::Write as _;

use comfy_table::Cell;

use super::paper::{Paper, Tone};
use super::serve::{Broker, Listener, ServeReport};

/// The report as text.
pub fn serve_text(report: &ServeReport, paper: Paper) -> String {
    let mut out = String::new();
    let row = |broker: &Broker, listener: &Listener| {
        let tls = if listener.tls { "yes" } else { "no" };
        let texts = [
            &broker.id.to_string(),
            &broker.pod,
            listener.api.as_str(),
            &listener.name,
            &listener.address,
            tls,
            &listener.authentication,
        ];
        texts.iter().map(Cell::new).collect()
    };
    let rows =
        report.brokers.iter().flat_map(|broker| broker.listeners.iter().map(move |it| row(broker, it)));
    let header = ["broker", "pod", "api", "listener", "address", "tls", "authentication"];
    paper.table(&mut out, &header, &[0], rows.collect());
    for (name, addresses) in &report.bootstrap {
        let _ = writeln!(out, "{}  {addresses}", paper.paint(&format!("bootstrap {name}"), Tone::Strong));
    }
    if let Some(path) = &report.ca {
        let _ = writeln!(out, "{}  {}", paper.paint("authority", Tone::Strong), path.display());
    }
    let _ = write!(out, "Every broker is ready; Ctrl-C stops them.");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::check::Api;

    #[test]
    fn listeners_and_bootstrap_addresses_are_listed() {
        let listener = |api, name: &str, address: &str, tls| Listener {
            api,
            name: name.to_owned(),
            address: address.to_owned(),
            tls,
            authentication: "none".to_owned(),
        };
        let broker = Broker {
            id: 0,
            pod: "redpanda/redpanda-0".to_owned(),
            listeners: vec![
                listener(Api::Kafka, "internal", "127.0.0.1:12001", false),
                listener(Api::Admin, "internal", "127.0.0.1:12002", true),
            ],
        };
        let report = ServeReport {
            brokers: vec![broker],
            bootstrap: [("internal".to_owned(), "127.0.0.1:12001".to_owned())].into(),
            ca: Some("/tmp/ca.pem".into()),
        };
        insta::assert_snapshot!(serve_text(&report, Paper::default()));
    }
}
