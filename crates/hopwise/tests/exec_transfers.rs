//! `hopwise exec`: what programs send in bulk arrives whole, whoever is at the other end.
//!
//! Needs what `exec` needs, and python3 for the programs.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;

const HOPWISE: &str = env!("CARGO_BIN_EXE_hopwise");

/// A web server's pod, which a real program may play, and one that the simulation plays: an echo that greets with a line.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: real, namespace: default, labels: {app: real}}
spec:
  nodeSelector: {kubernetes.io/hostname: node-1}
  containers: [{name: real, image: example/real, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: real, namespace: default}
spec: {type: NodePort, selector: {app: real}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: simulated, namespace: default, labels: {app: simulated}}
spec:
  nodeSelector: {kubernetes.io/hostname: node-1}
  containers: [{name: simulated, image: example/simulated, ports: [{containerPort: 7007}]}]
---
apiVersion: v1
kind: Service
metadata: {name: simulated, namespace: default}
spec: {type: NodePort, selector: {app: simulated}, ports: [{port: 7007, nodePort: 30007}]}
";

/// Bytes that no two programs could get right by chance, and a server that is sent some of them, says what it got, and sends
/// others; then a client of such a server, and one of an echo. What they print is for the test to compare.
const PROGRAMS: &str = r#"
import hashlib, random, socket, sys, threading

def data(seed):
    return random.Random(seed).randbytes(8_000_000)

def digest(content):
    return hashlib.sha256(content).hexdigest()

def all_of(connection):
    content = bytearray()
    while piece := connection.recv(1 << 20):
        content += piece
    return content

def serve(address):
    listener = socket.create_server((address, 8080), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    while True:
        connection, _ = listener.accept()
        got = all_of(connection)
        connection.sendall(digest(got).encode() + data(2))
        connection.close()

def exchange(host, port):
    connection = socket.create_connection((host, port))
    connection.sendall(data(1))
    connection.shutdown(socket.SHUT_WR)
    answer = all_of(connection)
    print(answer[:64].decode() == digest(data(1)), digest(answer[64:]) == digest(data(2)))

def echo(host, port):
    connection = socket.create_connection((host, port))
    while connection.recv(1) != b"\n":
        pass
    def send():
        connection.sendall(data(3))
        connection.shutdown(socket.SHUT_WR)
    threading.Thread(target=send).start()
    print(digest(all_of(connection)) == digest(data(3)))

command, *place = sys.argv[1:]
if command == "serve":
    serve(place[0])
else:
    {"exchange": exchange, "echo": echo}[command](place[0], int(place[1]))
"#;

/// A cluster of two nodes with these addresses in two zones.
fn cluster_of(addresses: [&str; 2]) -> String {
    let nodes = addresses.iter().zip(["a", "b"]).enumerate();
    let nodes = nodes.map(|(index, (address, zone))| {
        format!("  - {{name: node-{index}, zone: zone-{zone}, address: \"{address}\"}}\n")
    });
    format!("nodes:\n{}", nodes.collect::<String>())
}

/// What a client prints that runs at `place`, in a cluster of this file; the real server listens on `server`.
fn client_in(cluster: &str, server: &str, place: &str, arguments: &[&str], exec: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    for (name, text) in [("pods.yaml", PODS), ("programs.py", PROGRAMS), ("cluster.yaml", cluster)] {
        fs::write(path(name), text).expect("can be written");
    }
    let programs = path("programs.py");
    let server = format!("pod/default/real=exec python3 {} serve {server}", programs.display());
    let mut command = Command::new(HOPWISE);
    command.arg("exec").arg("-f").arg(path("pods.yaml")).arg("--cluster").arg(path("cluster.yaml"));
    command.args(["--run", &server, "--from", place]).args(exec).arg("--");
    command.arg("python3").arg(programs).args(arguments);
    let output = command.output().expect("starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (said, error) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{place} {arguments:?}: {said}{error}");
    said
}

/// The same, of IPv4.
fn client(place: &str, arguments: &[&str]) -> String {
    client_in(&cluster_of(IPV4), "0.0.0.0", place, arguments, &[])
}

const IPV4: [&str; 2] = ["10.0.0.10", "10.0.0.11"];

#[test]
fn two_programs_exchange_what_they_sent() {
    for (place, host, port) in
        [("external", "10.0.0.10", "30080"), ("in-cluster", "real.default.svc.cluster.local", "80")]
    {
        assert_eq!(client(place, &["exchange", host, port]), "True True\n", "{place}");
    }
}

#[test]
fn a_program_and_a_simulated_host_exchange_what_they_sent() {
    for (place, host, port) in
        [("external", "10.0.0.10", "30007"), ("in-cluster", "simulated.default.svc.cluster.local", "7007")]
    {
        assert_eq!(client(place, &["echo", host, port]), "True\n", "{place}");
    }
}

#[test]
fn it_arrives_whole_over_a_path_whose_delay_varies() {
    // Such links take the segments one by one, and what waits at the end is joined again.
    let aws = format!("profile: aws\n{}", cluster_of(IPV4));
    let said = client_in(&aws, "0.0.0.0", "external", &["exchange", "10.0.0.10", "30080"], &[]);
    assert_eq!(said, "True True\n");
}

#[test]
fn it_arrives_whole_by_ipv6() {
    let cluster = cluster_of(["fd00:1::10", "fd00:1::11"]);
    let exchange = ["exchange", "real.default.svc.cluster.local", "80"];
    assert_eq!(client_in(&cluster, "::", "in-cluster", &exchange, &[]), "True True\n");
    let echo = ["echo", "simulated.default.svc.cluster.local", "7007"];
    assert_eq!(client_in(&cluster, "::", "in-cluster", &echo, &[]), "True\n");
}

#[test]
fn a_capture_has_no_packet_that_is_longer_than_the_links_take() {
    let directory = tempfile::tempdir().expect("a directory");
    let captures = directory.path().join("captures");
    let exec = ["--pcap", captures.to_str().expect("UTF-8")];
    let exchange = ["exchange", "real.default.svc.cluster.local", "80"];
    assert_eq!(client_in(&cluster_of(IPV4), "0.0.0.0", "in-cluster", &exchange, &exec), "True True\n");
    let lengths: Vec<u32> = fs::read_dir(&captures)
        .expect("a directory of captures")
        .flat_map(|file| packet_lengths(&file.expect("a file").path()))
        .collect();
    // Both ways, as seen by the client's pod alone.
    let bytes: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    assert!(bytes > 16_000_000, "{bytes} bytes");
    assert!(lengths.iter().all(|length| *length <= 1_500), "{:?}", lengths.iter().max());
}

/// The original lengths of the packets of a pcapng file in little-endian order: its enhanced packet blocks, of type 6
/// (draft-ietf-opsawg-pcapng, sections 3.1 and 4.3).
fn packet_lengths(path: &Path) -> Vec<u32> {
    let bytes = fs::read(path).expect("can be read");
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (mut at, mut lengths) = (0, Vec::new());
    while at + 8 <= bytes.len() {
        if word(at) == 6 {
            lengths.push(word(at + 24));
        }
        at += word(at + 4) as usize;
    }
    lengths
}
