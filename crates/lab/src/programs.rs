//! The programs that hopwise knows: brokers, and the client pod that waits to be used.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hopwise_broker::{
    BootstrapUser, Broker, BrokerStatus, Disk, DiskTrouble, Environment, HostPort, NodeConfig,
    StartParameters, Tenure,
};
use hopwise_client::Whois;
use hopwise_engine::Time;
use hopwise_kube::cluster::{Container, Process, Programs};
use hopwise_security::sasl::Mechanism;
use tokio::sync::watch;

use crate::credentials::{Holdings, MountedFiles, files_of, users_in};
use crate::scenario::BrokerBug;
use crate::simulate::Instead;

/// Where redpanda.yaml is mounted (redpanda.md 1.6).
const CONFIG_PATH: &str = "/etc/redpanda/redpanda.yaml";
/// Where the first configuration of the cluster is mounted (redpanda.md 1.6).
const BOOTSTRAP_PATH: &str = "/etc/redpanda/.bootstrap.yaml";
/// The option of `rpk redpanda start` with the broker's own RPC address (redpanda.md 1.5).
const ADVERTISE_RPC: &str = "--advertise-rpc-addr=";

/// A user that exists from the start: `user:password[:mechanism]`.
const BOOTSTRAP_USER: &str = "RP_BOOTSTRAP_USER";
/// Where the chart mounts the Secret of users into the sidecar that creates them.
const USERS_DIRECTORY: &str = "/etc/secrets/users/";

/// A broker that was started in a pod.
#[derive(Clone, Debug)]
pub struct RunningBroker {
    /// `namespace/name` of its pod.
    pub pod: String,
    /// Its configuration.
    pub config: NodeConfig,
    /// Its state.
    pub status: BrokerStatus,
    /// What is mounted into it.
    pub files: Arc<MountedFiles>,
    /// The disk that its data is on, if one is mounted there.
    pub disk: Option<MountedDisk>,
    /// What has changed of the mounted files since.
    refreshed: Refreshed,
}

/// A disk that a broker's data is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedDisk {
    /// `namespace/name` of its claim.
    pub claim: String,
    /// Its size, if that is known.
    pub capacity_bytes: Option<u64>,
}

/// Mounted files that have changed since the container started.
type Refreshed = Arc<Mutex<MountedFiles>>;

/// One run of a broker's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerLife {
    /// `namespace/name` of its pod.
    pub pod: String,
    /// The claim that its data is on, and the claim's volume; none if the data dies with the container.
    pub volume: Option<(String, String)>,
    /// Its id; none if it never became a member.
    pub id: Option<i32>,
    /// When it led which partition, as its replicas knew it.
    pub tenures: Vec<Tenure>,
    /// When it was started.
    pub began: Time,
    /// When it ended; none if it runs.
    pub ended: Option<Time>,
}

/// What is kept of a broker that was started.
#[derive(Clone, Debug)]
struct Begun {
    pod: String,
    volume: Option<(String, String)>,
    status: BrokerStatus,
    began: Time,
    ended: Option<Time>,
}

/// Notes the end of a broker's process, however it comes.
struct Ends {
    brokers: Brokers,
    place: usize,
}

impl Drop for Ends {
    fn drop(&mut self) {
        let now = hopwise_engine::now();
        self.brokers.locked(|registry| {
            if let Some(begun) = registry.begun.get_mut(self.place) {
                begun.ended = Some(now);
            }
        });
    }
}

/// Why a broker's container did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// `namespace/name` of its pod.
    pub pod: String,
    /// Why, in words for the user.
    pub reason: String,
}

/// The brokers of a cluster, by pod; the last started one of each.
#[derive(Clone, Debug, Default)]
pub struct Brokers(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    running: BTreeMap<String, RunningBroker>,
    failures: BTreeMap<String, StartFailure>,
    /// Every broker that was started, in order.
    begun: Vec<Begun>,
    /// The users of each pod: those of the broker's environment and those that a sidecar creates.
    users: BTreeMap<String, watch::Sender<Vec<BootstrapUser>>>,
}

impl Brokers {
    /// The brokers, by pod.
    pub fn all(&self) -> Vec<RunningBroker> {
        self.locked(|registry| registry.running.values().cloned().collect())
    }

    /// Pods whose broker did not start.
    pub fn failures(&self) -> Vec<StartFailure> {
        self.locked(|registry| registry.failures.values().cloned().collect())
    }

    /// Every broker that ran, in the order in which they were started.
    pub fn lives(&self) -> Vec<BrokerLife> {
        let life = |begun: &Begun| BrokerLife {
            pod: begun.pod.clone(),
            volume: begun.volume.clone(),
            id: begun.status.broker_id(),
            tenures: begun.status.tenures(),
            began: begun.began,
            ended: begun.ended,
        };
        self.locked(|registry| registry.begun.iter().map(life).collect())
    }

    /// What is mounted into the broker of a pod, and its users.
    pub fn holdings(&self, pod: &str) -> Option<Holdings> {
        self.locked(|registry| {
            let files = Arc::clone(&registry.running.get(pod)?.files);
            let users = registry.users.get(pod).map(|users| users.borrow().clone()).unwrap_or_default();
            Some(Holdings { files, users })
        })
    }

    /// Changes files that are mounted into the broker of a pod; it reads them when it looks again.
    pub fn refresh(&self, pod: &str, files: MountedFiles) {
        let refreshed = self.locked(|registry| registry.running.get(pod).map(|it| Arc::clone(&it.refreshed)));
        if let Some(refreshed) = refreshed {
            refreshed.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
        }
    }

    /// Adds users of a pod's brokers to those that are there.
    fn add_users(&self, pod: &str, users: Vec<BootstrapUser>) -> watch::Receiver<Vec<BootstrapUser>> {
        self.locked(|registry| {
            let sender = registry.users.entry(pod.to_owned()).or_insert_with(|| watch::channel(Vec::new()).0);
            sender.send_modify(|known| {
                let new = |user: &BootstrapUser| known.iter().all(|other| other.name != user.name);
                let added: Vec<BootstrapUser> = users.into_iter().filter(new).collect();
                known.extend(added);
            });
            sender.subscribe()
        })
    }

    /// The id of the broker in a pod, `namespace/name`.
    pub fn id_of(&self, pod: &str) -> Option<i32> {
        self.locked(|registry| registry.running.get(pod).and_then(|broker| broker.status.broker_id()))
    }

    /// Which broker stands behind a route.
    pub fn whois(&self) -> Whois {
        let brokers = self.clone();
        Arc::new(move |route| brokers.id_of(route.reached()?))
    }

    fn locked<R>(&self, f: impl FnOnce(&mut Registry) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the lab puts into containers.
#[derive(Default)]
pub struct LabPrograms {
    /// The brokers that were started.
    pub brokers: Brokers,
    /// The promise that they break, in builds with feature `bugs`.
    pub bug: Option<BrokerBug>,
    /// What containers run instead.
    pub instead: Option<Instead>,
}

impl Programs for LabPrograms {
    fn interprets(&self, image: &str) -> bool {
        is_redpanda(image)
    }

    fn start(&self, container: &Container) -> Option<Result<Process, String>> {
        if let Some(process) = self.instead.as_ref().and_then(|instead| instead.process(container)) {
            return Some(Ok(process));
        }
        if container.image == "hopwise/client" {
            return Some(Ok(waiting()));
        }
        if !is_redpanda(&container.image) {
            return None;
        }
        if !is_broker(&container.image, &container.command) {
            // A sidecar of the same image (config-watcher): it serves nobody, and creates the users of its file.
            let pod = format!("{}/{}", container.namespace, container.pod);
            self.brokers.add_users(&pod, sidecar_users(container));
            return Some(Ok(waiting()));
        }
        let pod = format!("{}/{}", container.namespace, container.pod);
        let started = self.start_broker(&pod, container);
        self.brokers.locked(|registry| match &started {
            Ok(_) => {
                registry.failures.remove(&pod);
            }
            Err(reason) => {
                registry.failures.insert(pod.clone(), StartFailure { pod, reason: reason.clone() });
            }
        });
        Some(started)
    }
}

impl LabPrograms {
    fn start_broker(&self, pod: &str, container: &Container) -> Result<Process, String> {
        let config = broker_config(container)?;
        let data_directory = config.data_directory.clone();
        let mount = container.disks.iter().find(|(path, _)| data_directory.starts_with(path));
        let disk = mount.map(|(_, disk)| MountedDisk {
            claim: format!("{}/{}", container.namespace, disk.claim),
            capacity_bytes: disk.capacity_bytes,
        });
        let volume = match mount {
            Some((_, disk)) => {
                let file_system = Box::new(Disk::Simulated(disk.file_system.clone()));
                Disk::Troubled(
                    file_system,
                    Arc::new(MountedTrouble {
                        trouble: disk.trouble.clone(),
                        capacity_bytes: disk.capacity_bytes,
                    }),
                )
            }
            // Without a mounted disk the data lives in the container's own file system, and dies with it.
            None => Disk::Simulated(turmoil_fs::Fs::builder().seed(hopwise_engine::seed()).build()),
        };
        let on = mount.map(|(_, disk)| (disk.claim.clone(), disk.volume.clone()));
        let (status, clock) = (BrokerStatus::with_tenures(), container.clock.clone());
        let files = Arc::new(files_of(&container.files));
        let bootstrap = container.environment.get(BOOTSTRAP_USER);
        let bootstrap = bootstrap.and_then(|text| BootstrapUser::parse(text, Mechanism::ScramSha256));
        let users = self.brokers.add_users(pod, bootstrap.into_iter().collect());
        let refreshed = Refreshed::default();
        let (mounted, changed) = (Arc::clone(&files), Arc::clone(&refreshed));
        let read = move |path: &Path| {
            let (path, changed) = (path.to_str()?, changed.lock().unwrap_or_else(PoisonError::into_inner));
            changed.get(path).or_else(|| mounted.get(path)).map(|bytes| Bytes::copy_from_slice(bytes))
        };
        let parameters = StartParameters {
            environment: Environment { files: Arc::new(read), users, ..Environment::default() },
            config: config.clone(),
            volume,
            clock: Arc::new(move || clock.unix_ms()),
            seed: seed_of(&container.pod_uid),
            status: status.clone(),
        };
        let broker =
            RunningBroker { pod: pod.to_owned(), config, status: status.clone(), files, disk, refreshed };
        let (began, ended) = (hopwise_engine::now(), None);
        let begun = Begun { pod: pod.to_owned(), volume: on, status: status.clone(), began, ended };
        let place = self.brokers.locked(|registry| {
            registry.running.insert(pod.to_owned(), broker);
            registry.begun.push(begun);
            registry.begun.len() - 1
        });
        let ends = Ends { brokers: self.brokers.clone(), place };
        let (ready, is_ready) = watch::channel(false);
        let (brokers, pod) = (self.brokers.clone(), pod.to_owned());
        #[cfg(feature = "bugs")]
        let broker = Broker::start_with_bugs(parameters, self.bug.map(BrokerBug::bugs).unwrap_or_default());
        #[cfg(not(feature = "bugs"))]
        let broker = Broker::start(parameters);
        let run = async move {
            let _ends = ends;
            let tell = async {
                status.wait_ready().await;
                hopwise_engine::notable(
                    "broker.ready",
                    format!("broker {}", status.broker_id().unwrap_or(-1)),
                    pod.as_str(),
                );
                ready.send_replace(true);
                std::future::pending::<()>().await;
            };
            let reason = tokio::select! {
                biased;
                ended = broker => match ended {
                    Err(error) => error.to_string(),
                    Ok(never) => match never {},
                },
                () = tell => "it ended".to_owned(),
            };
            let failure = StartFailure { pod: pod.clone(), reason: reason.clone() };
            brokers.locked(|registry| registry.failures.insert(pod, failure));
            reason
        };
        Ok(Process { run: Box::pin(run), ready: is_ready })
    }
}

/// What is wrong with a mounted disk, as brokers ask for it.
struct MountedTrouble {
    trouble: hopwise_kube::cluster::DiskTrouble,
    capacity_bytes: Option<u64>,
}

impl DiskTrouble for MountedTrouble {
    fn is_full(&self) -> bool {
        self.trouble.is_full()
    }

    fn extra_latency(&self) -> Duration {
        self.trouble.extra_latency()
    }

    fn capacity_bytes(&self) -> Option<u64> {
        self.capacity_bytes
    }
}

/// The users of the files that are mounted where the chart's sidecar looks for them.
fn sidecar_users(container: &Container) -> Vec<BootstrapUser> {
    let files = container.files.iter().filter(|(path, _)| path.starts_with(USERS_DIRECTORY));
    files.flat_map(|(_, text)| users_in(text)).collect()
}

/// The configuration that a broker's container is started with.
///
/// # Errors
/// What is missing or wrong, in words for the user.
pub fn broker_config(container: &Container) -> Result<NodeConfig, String> {
    let text =
        |path: &str| container.files.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let Some(redpanda_yaml) = text(CONFIG_PATH) else {
        let mounted: Vec<&str> = container.files.keys().map(String::as_str).collect();
        return Err(format!("{CONFIG_PATH} is not mounted; the container has {}", mounted.join(", ")));
    };
    let mut config = NodeConfig::parse(&redpanda_yaml, text(BOOTSTRAP_PATH).as_deref())
        .map_err(|error| format!("{CONFIG_PATH}: {error}"))?;
    if let Some(address) = container.command.iter().find_map(|word| word.strip_prefix(ADVERTISE_RPC)) {
        config.advertised_rpc_api = HostPort::parse(address)
            .ok_or_else(|| format!("{ADVERTISE_RPC}{address}: expected HOST:PORT"))?;
    }
    Ok(config)
}

/// Whether an image holds Redpanda: the last part of its name, whatever the registry and tag.
fn is_redpanda(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or(image).rsplit('/').next().unwrap_or(image);
    matches!(name.split(':').next(), Some("redpanda" | "redpanda-nightly" | "redpanda-unstable"))
}

fn starts_a_broker(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    // The image's own entry point starts a broker.
    words.is_empty()
        || words.windows(2).any(|pair| pair == ["redpanda", "start"])
        || words.first() == Some(&"redpanda")
}

/// Whether a container of this image and command runs a broker.
pub fn is_broker(image: &str, command: &[String]) -> bool {
    is_redpanda(image) && starts_a_broker(command)
}

fn seed_of(uid: &str) -> u64 {
    use rand::Rng;
    hopwise_engine::stream(&format!("broker/{uid}")).next_u64()
}

fn waiting() -> Process {
    let (_, ready) = watch::channel(true);
    Process { run: Box::pin(std::future::pending()), ready }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_brokers_are_known_by_name() {
        for image in [
            "redpanda",
            "docker.redpanda.com/redpandadata/redpanda:v24.1.11",
            "r.example:5000/x/redpanda@sha256:ab",
        ] {
            assert!(is_redpanda(image), "{image}");
        }
        for image in ["docker.redpanda.com/redpandadata/console:v2.4.6", "redpanda-operator:v2", ""] {
            assert!(!is_redpanda(image), "{image}");
        }
    }

    #[test]
    fn only_the_broker_container_starts_a_broker() {
        let command = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(starts_a_broker(&command(&["rpk", "redpanda", "start", "--advertise-rpc-addr=a:1"])));
        assert!(starts_a_broker(&[]));
        assert!(!starts_a_broker(&command(&[
            "/bin/sh",
            "-c",
            "exec /etc/secrets/config-watcher/scripts/sasl-user.sh"
        ])));
    }
}
