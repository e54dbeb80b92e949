//! A small cluster and its programs: a web server whose health can be switched, and a program that ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::{Simulation, Span, Time, host};
use hopwise_fabric::net::TcpListener;
use hopwise_fabric::{Fabric, FabricWorld};
use hopwise_kube::cluster::{Cluster, ClusterSpec, Container, Process, Programs};
use hopwise_kube::cluster_file::ClusterFile;
use hopwise_kube::manifest::Manifests;
use hopwise_kube::profile::Profile;
use hopwise_kube::source::Source;
use hopwise_kube::store::{pod_state, time_of};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// What the programs of a cluster are told, and what they did.
#[derive(Default)]
pub struct World {
    /// The status that `/healthz` answers with, by pod; 200 unless it is here.
    pub health: RefCell<BTreeMap<String, u16>>,
    /// When containers were started, by `pod/container`.
    pub starts: RefCell<BTreeMap<String, Vec<Time>>>,
    disks: RefCell<BTreeMap<String, turmoil_fs::Fs>>,
}

impl World {
    /// The files on the disk that a pod has mounted at `/data`.
    pub fn files(&self, pod: &str) -> Vec<String> {
        let disk = self.disks.borrow()[pod].clone();
        let _inside = disk.enter();
        let is_there = |name: &&str| turmoil_fs::shim::std::fs::exists(format!("/{name}"));
        ["synced", "unsynced"].into_iter().filter(is_there).map(ToOwned::to_owned).collect()
    }
}

struct TestPrograms(Rc<World>);

impl Programs for TestPrograms {
    fn interprets(&self, image: &str) -> bool {
        image == "web"
    }

    fn start(&self, container: &Container) -> Option<Result<Process, String>> {
        let name = format!("{}/{}", container.pod, container.name);
        self.0.starts.borrow_mut().entry(name).or_default().push(hopwise_engine::now());
        match container.image.as_str() {
            "web" => Some(Ok(web(container, self.0.clone()))),
            "ends" => Some(Ok(ends(container))),
            _ => None,
        }
    }
}

/// A web server on port 80 of the pod; `/healthz` answers with the pod's health, all else with 200.
fn web(container: &Container, world: Rc<World>) -> Process {
    let (ready, is_ready) = watch::channel(false);
    let (pod, address) = (container.pod.clone(), container.addresses[0]);
    let disk = container.disks.get("/data").map(|disk| disk.file_system.clone());
    let run = async move {
        if let Some(disk) = disk {
            write_files(&disk);
            world.disks.borrow_mut().insert(pod.clone(), disk);
        }
        let listener = TcpListener::bind(SocketAddr::new(address, 80)).await.expect("the port is free");
        ready.send_replace(true);
        while let Ok((mut stream, _)) = listener.accept().await {
            let (pod, world) = (pod.clone(), world.clone());
            host::spawn(async move {
                let mut request = vec![0; 1024];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let asks_health = String::from_utf8_lossy(&request[..length]).contains(" /healthz ");
                let status = world.health.borrow().get(&pod).copied().filter(|_| asks_health).unwrap_or(200);
                let answer =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: 3\r\nconnection: close\r\n\r\n{status}");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
        "its socket is gone".to_owned()
    };
    Process { run: Box::pin(run), ready: is_ready }
}

/// Writes one file that is synced and one that is not.
fn write_files(disk: &turmoil_fs::Fs) {
    use turmoil_fs::shim::std::fs;
    let _inside = disk.enter();
    if fs::exists("/synced") {
        return;
    }
    let file = fs::File::create("/synced").expect("a file");
    file.sync_all().expect("it is synced");
    fs::sync_dir("/").expect("it is synced");
    fs::write("/unsynced", b"lost").expect("a file");
}

/// Ends after as many seconds as its first argument says, with the second as the reason.
fn ends(container: &Container) -> Process {
    let after = Duration::from_secs(container.command[0].parse().expect("seconds"));
    let reason = container.command.get(1).cloned().unwrap_or_default();
    let run = async move {
        tokio::time::sleep(after).await;
        reason
    };
    Process { run: Box::pin(run), ready: watch::channel(true).1 }
}

/// Runs `test` on a cluster of two nodes with these manifests, in virtual time. Nothing of the cluster may be left afterwards: a sweep
/// has thousands of them in one process.
pub fn on_cluster<F: Future<Output = ()> + 'static>(
    manifests: &str,
    test: impl FnOnce(Rc<Cluster>, Rc<World>) -> F + 'static,
) {
    let manifests = Manifests::load(&[Source::new("test.yaml", manifests)]).expect("sound manifests");
    hopwise_fabric::install(Fabric::new());
    let simulated = Simulation::new(1).limit(Span::from_secs(86_400)).run(FabricWorld, move || async move {
        let world = Rc::new(World::default());
        let spec = ClusterSpec {
            manifests,
            cluster: ClusterFile::with_nodes(2),
            profile: Profile::named("bare-metal").expect("a profile"),
            programs: Rc::new(TestPrograms(world.clone())),
            without_pods: Vec::new(),
        };
        let left = Rc::downgrade(&world);
        test(Rc::new(Cluster::start(spec)), world).await;
        left
    });
    hopwise_fabric::uninstall();
    let left = simulated.expect("it ends").strong_count();
    assert_eq!(left, 0, "programs are still held by what is left of the cluster");
}

/// Sleeps for so many seconds of virtual time.
pub async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A pod of the namespace `default`.
pub fn pod(cluster: &Cluster, name: &str) -> Option<Pod> {
    cluster.api().read(|store| store.get::<Pod>("default", name).map(|pod| Pod::clone(pod)))
}

/// A pod that is there.
pub fn the_pod(cluster: &Cluster, name: &str) -> Pod {
    pod(cluster, name).unwrap_or_else(|| panic!("pod {name} is there"))
}

/// Whether a pod is ready.
pub fn is_ready(cluster: &Cluster, name: &str) -> bool {
    pod(cluster, name).is_some_and(|pod| pod_state::is_ready(&pod))
}

/// When a pod became ready, or ceased to be, in whole seconds.
pub fn ready_since_s(cluster: &Cluster, name: &str) -> u64 {
    let pod = the_pod(cluster, name);
    let condition = pod_state::condition(&pod, "Ready").expect("the condition is there");
    let since = time_of(condition.last_transition_time.as_ref().expect("a time"));
    since.as_nanos() / 1_000_000_000
}

/// UID, address and restarts of a pod's first container.
pub fn identity(cluster: &Cluster, name: &str) -> (String, String, i32) {
    let pod = the_pod(cluster, name);
    let status = pod.status.expect("a status");
    let containers = status.container_statuses.as_ref();
    let restarts = containers.unwrap_or_else(|| panic!("no containers: {status:?}"))[0].restart_count;
    (pod.metadata.uid.expect("a uid"), status.pod_ip.expect("an address"), restarts)
}

/// The state of a pod's first container.
pub fn container(cluster: &Cluster, name: &str) -> ContainerStatus {
    let status = the_pod(cluster, name).status.expect("a status");
    status.container_statuses.expect("containers").remove(0)
}

/// When a container was started, in whole seconds.
pub fn starts_s(world: &World, container: &str) -> Vec<u64> {
    let starts = world.starts.borrow();
    starts.get(container).into_iter().flatten().map(|at| at.as_nanos() / 1_000_000_000).collect()
}

/// The node of a pod.
pub fn node_of(cluster: &Cluster, name: &str) -> String {
    pod_state::node_name(&the_pod(cluster, name)).expect("it is bound").to_owned()
}
