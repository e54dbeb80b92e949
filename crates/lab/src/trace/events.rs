//! The events of a trace.

use std::collections::BTreeMap;

use hopwise_client::RequestRecord;
use hopwise_engine::{Span, Time};
use hopwise_fabric::Hop;
use serde_json::{Value, json};

use super::sample::Sample;
use super::tracks::Tracks;
use super::{FAULT, INSTANTS_MAX, LEFT_OUT, SAMPLED};
use crate::recording::{RecordedClient, is_failed};

/// A hop without a next one still has to be seen.
const LAST_HOP: Span = Span::from_nanos(1_000);

/// Events as they are gathered.
#[derive(Default)]
pub(super) struct Events {
    tracks: Tracks,
    events: Vec<Value>,
    flows: u64,
    instants: usize,
    /// Until when the spans of a thread reach: attempts that wait for the same connection overlap.
    busy: BTreeMap<(String, String), Time>,
}

impl Events {
    /// Says at the beginning of the trace how much of the run it holds.
    pub fn note_sample(&mut self, sample: &Sample<'_>) {
        if sample.len() == sample.of {
            return;
        }
        let detail = format!("{} of {} requests are in this trace", sample.len(), sample.of);
        self.happened(0, SAMPLED, "cluster", &detail);
    }

    /// Something that happened to an object of the cluster.
    pub fn happened(&mut self, at_ns: u64, kind: &str, object: &str, detail: &str) {
        self.instants += 1;
        if self.instants > INSTANTS_MAX {
            return;
        }
        let host = track_of(object);
        let (pid, tid) = self.tracks.of(&host, "events");
        // Global instants are lines through all tracks, for what breaks things.
        let scope = if kind == FAULT { "g" } else { "p" };
        let args = json!({"object": object, "detail": detail});
        self.events.push(json!({
            "ph": "i", "s": scope, "cat": "cluster", "name": kind, "pid": pid, "tid": tid,
            "ts": microseconds(Time::from_nanos(at_ns)), "args": args,
        }));
    }

    /// One attempt of a client: its span, what it is made of, and the way of its packets.
    pub fn request(&mut self, client: &RecordedClient, record: &RequestRecord) {
        let host = format!("client {}", client.name);
        let thread = self.free_thread(&host, record);
        let (pid, tid) = self.tracks.of(&host, &thread);
        self.span(
            pid,
            tid,
            ("request", record.operation.as_str()),
            record.started_at,
            record.total,
            args(record),
        );
        let mut at = record.started_at;
        // The parts lie at the end of the attempt: before them it waits for its turn.
        let parts = [
            ("resolve", record.resolve),
            ("connect", record.connect.unwrap_or(Span::ZERO)),
            ("handshake", record.handshake.unwrap_or(Span::ZERO)),
            ("request", record.request),
        ];
        let parts_ns: u64 = parts.iter().map(|(_, span)| span.as_nanos()).sum();
        at += Span::from_nanos(record.total.as_nanos().saturating_sub(parts_ns));
        let opened = record.connect.is_some();
        for (name, span) in parts {
            if span > Span::ZERO && (opened || name == "request") {
                self.span(pid, tid, ("part", name), at, span, json!({}));
            }
            at += span;
        }
        let Some(route) = &record.route else { return };
        let name = format!("{} of {}", record.operation, client.name);
        for (direction, hops) in [("there", &route.forward), ("back", &route.reply)] {
            self.way(&format!("{name}, {direction}"), hops);
        }
    }

    /// All events: names first, then by time.
    pub fn finish(mut self) -> Vec<Value> {
        if let Some(more @ 1..) = self.instants.checked_sub(INSTANTS_MAX) {
            self.instants = 0;
            self.happened(0, LEFT_OUT, "cluster", &format!("{more} later instants are left out"));
        }
        let mut events = self.events;
        events.sort_by(|a, b| time_of(a).total_cmp(&time_of(b)));
        let mut all = self.tracks.names();
        all.append(&mut events);
        all
    }

    /// The thread of an operation on which nothing is going on when the attempt begins.
    fn free_thread(&mut self, host: &str, record: &RequestRecord) -> String {
        let end = record.started_at + record.total;
        for number in 1_u32.. {
            let thread = match number {
                1 => record.operation.to_string(),
                number => format!("{} ({number})", record.operation),
            };
            let busy = self.busy.entry((host.to_owned(), thread.clone())).or_insert(Time::ZERO);
            if *busy <= record.started_at {
                *busy = end;
                return thread;
            }
        }
        String::new()
    }

    /// The hops of one packet, each on its device's track until it is at the next, and an arrow through all.
    fn way(&mut self, name: &str, hops: &[Hop]) {
        if hops.len() < 2 {
            return;
        }
        self.flows += 1;
        let flow = self.flows;
        for (index, hop) in hops.iter().enumerate() {
            let until = hops.get(index + 1).map_or(hop.at + LAST_HOP, |next| next.at);
            let (pid, tid) = self.tracks.of(&hop.device, name);
            let args = json!({
                "from": hop.source.to_string(),
                "to": hop.destination.to_string(),
                "detail": hop.detail.as_deref().unwrap_or(""),
            });
            let lasts = if until > hop.at { until - hop.at } else { Span::ZERO };
            self.span(pid, tid, ("hop", hop.action.as_str()), hop.at, lasts, args);
            let phase = match index {
                0 => "s",
                index if index + 1 == hops.len() => "f",
                _ => "t",
            };
            let mut arrow = json!({
                "ph": phase, "id": flow, "cat": "way", "name": name, "pid": pid, "tid": tid, "ts": microseconds(hop.at),
            });
            if phase == "f" {
                // It ends in the span around it, not in the next one.
                arrow["bp"] = "e".into();
            }
            self.events.push(arrow);
        }
    }

    fn span(
        &mut self,
        pid: u64,
        tid: u64,
        (category, name): (&str, &str),
        at: Time,
        lasts: Span,
        args: Value,
    ) {
        self.events.push(json!({
            "ph": "X", "cat": category, "name": name, "pid": pid, "tid": tid,
            "ts": microseconds(at), "dur": lasts.as_nanos() as f64 / 1e3, "args": args,
        }));
    }
}

fn args(record: &RequestRecord) -> Value {
    let mut args = json!({"address": record.address.to_string(), "attempt": record.attempt});
    if let (Some(topic), Some(partition)) = (&record.topic, record.partition) {
        args["partition"] = format!("{topic}/{partition}").into();
    }
    if let Some(broker) = record.broker {
        args["broker"] = broker.into();
    }
    if is_failed(record) {
        args["outcome"] = record.outcome.as_str().into();
        args["error_code"] = record.error_code.into();
        args["explanation"] = record.explanation.as_str().into();
    }
    args
}

/// The track of what an event is about: the object's own if it is on the way of packets, the cluster's otherwise.
fn track_of(object: &str) -> String {
    match object.split_once(' ') {
        Some(("pod" | "node", name)) => name.to_owned(),
        Some(("container", name)) => name.rsplit_once('/').map_or(name, |(pod, _)| pod).to_owned(),
        Some(("load", _)) => object.to_owned(),
        _ => "cluster".to_owned(),
    }
}

fn microseconds(at: Time) -> f64 {
    at.as_nanos() as f64 / 1e3
}

fn time_of(event: &Value) -> f64 {
    event["ts"].as_f64().unwrap_or(0.0)
}
