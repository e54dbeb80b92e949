//! A step of a timeline, played on the brokers that are served.

use tokio::time::{sleep, timeout};

use super::admin::{self, AdminRequest};
use super::deed::{Deed, ProcessDeed};
use super::timeline::{REPLACED_AFTER, Step};
use super::{READY_WITHIN, Served};

impl Served {
    /// Plays a step, and tells what it did. A restart takes until the broker is ready, so that a rolling restart takes
    /// one broker after the other; steps that are due meanwhile are played then.
    pub(super) async fn play(&mut self, step: &Step, tell: &mut impl FnMut(String)) {
        let did = match &step.deed {
            Deed::Process(broker, deed) => self.play_on_process(*broker, *deed).await,
            Deed::Restart(broker) => self.restart(*broker).await,
            Deed::Disk(broker, change) => {
                self.processes[*broker].change_disk(change);
                format!("the disk of {} {change}", self.processes[*broker].pod)
            }
            Deed::Admin(broker, request) => self.ask(*broker, *request).await,
            Deed::Links(ways, change) => {
                self.links.change(ways, *change);
                let ways: Vec<String> = ways
                    .iter()
                    .map(|(from, to)| format!("{} to {}", self.end(*from), self.end(*to)))
                    .collect();
                format!("the way {change}: {}", ways.join(", "))
            }
        };
        tell(format!("{} s: {}; {did}", step.at.as_secs_f64(), step.fault));
    }

    async fn play_on_process(&mut self, broker: usize, deed: ProcessDeed) -> String {
        let process = &mut self.processes[broker];
        match deed {
            ProcessDeed::Kill => process.kill().await,
            ProcessDeed::LosePower => process.lose_power().await,
            ProcessDeed::Start => process.start(),
            ProcessDeed::Hang => process.hang(),
            ProcessDeed::Resume => process.resume(),
            ProcessDeed::Slow(times) => process.slow(times),
            ProcessDeed::SetClock(ahead_ms) => process.set_clock(ahead_ms),
        }
        format!("the broker of {} is {deed}", process.pod)
    }

    /// As a kubelet does with the chart's hooks: maintenance, the end, the start, and no maintenance (redpanda.md 1.5).
    async fn restart(&mut self, broker: usize) -> String {
        if self.processes.len() > 2 {
            // The hook gives up, too, if nobody carries it out.
            let _ = self.request(broker, AdminRequest::StartMaintenance).await;
        }
        let process = &mut self.processes[broker];
        process.kill().await;
        sleep(REPLACED_AFTER).await;
        process.start();
        let is_ready = timeout(READY_WITHIN, process.wait_open()).await.is_ok();
        if self.processes.len() > 2 {
            let _ = self.request(broker, AdminRequest::EndMaintenance).await;
        }
        let ready = if is_ready { "and is ready" } else { "and is not ready in time" };
        format!("the broker of {} has restarted {ready}", self.processes[broker].pod)
    }

    async fn ask(&self, broker: usize, request: AdminRequest) -> String {
        match self.request(broker, request).await {
            Ok(()) => format!("the broker of {} is {request}", self.processes[broker].pod),
            Err(why) => format!("the broker of {} is not {request}: {why}", self.processes[broker].pod),
        }
    }

    async fn request(&self, broker: usize, request: AdminRequest) -> Result<(), String> {
        match self.processes[broker].status.broker_id() {
            Some(id) => admin::ask(&self.processes, id, request).await,
            None => Err("it has no id yet".to_owned()),
        }
    }

    fn end(&self, end: super::links::End) -> &str {
        match end {
            super::links::End::Broker(broker) => &self.processes[broker].pod,
            super::links::End::Outside => "clients",
        }
    }
}
