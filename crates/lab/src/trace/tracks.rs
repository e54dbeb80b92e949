//! Tracks: a process for each host and device, and in it a thread for each thing whose spans do not overlap.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::device::Role;

/// Numbers for names, as the format wants them.
#[derive(Default)]
pub(super) struct Tracks {
    hosts: BTreeMap<String, Host>,
}

struct Host {
    process: u64,
    threads: BTreeMap<String, u64>,
}

impl Tracks {
    /// The numbers of a host's track.
    pub fn of(&mut self, host: &str, thread: &str) -> (u64, u64) {
        let next = self.hosts.len() as u64 + 1;
        let host = self
            .hosts
            .entry(host.to_owned())
            .or_insert_with(|| Host { process: next, threads: BTreeMap::new() });
        let next = host.threads.len() as u64 + 1;
        (host.process, *host.threads.entry(thread.to_owned()).or_insert(next))
    }

    /// The events that name them.
    pub fn names(&self) -> Vec<Value> {
        let mut names = Vec::new();
        for (name, host) in &self.hosts {
            let pid = host.process;
            names.push(json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}));
            let order = order(name);
            names.push(
                json!({"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": order}}),
            );
            for (thread, tid) in &host.threads {
                let args = json!({"name": thread});
                names.push(json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": args}));
            }
        }
        names
    }
}

/// What happened comes first, then clients, then the network from outside to inside.
fn order(host: &str) -> u32 {
    match host {
        "cluster" => 0,
        host if host.starts_with("client ") => 1,
        device => 2 + Role::of(device) as u32,
    }
}
