//! `hopwise exec`: unmodified programs (a shell, here) meet the simulated network as the kernel shows it.
//!
//! Needs what `exec` needs: namespaces (root, or user namespaces) and `/dev/net/tun`; bash, whose `/dev/tcp` connects; and
//! python3 for something that listens.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hopwise_tests::scenarios;

const HOPWISE: &str = env!("CARGO_BIN_EXE_hopwise");

/// Four nodes, so that one has no broker, and a Service that selects nothing beside the brokers' own.
fn write_inputs(directory: &Path) {
    let nodes = (0..4).map(|n| format!("  - {{name: node-{n}, zone: zone-a, address: 10.0.0.1{n}}}\n"));
    let names = (0..3).map(|n| format!("  node-{n}.nodes.example.com: node/node-{n}\n"));
    let cluster = format!(
        "profile: bare-metal\nnodes:\n{}externalNames:\n{}",
        nodes.collect::<String>(),
        names.collect::<String>()
    );
    fs::write(directory.join("cluster.yaml"), cluster).expect("can be written");
    let nobody = "apiVersion: v1\nkind: Service\nmetadata: {name: nobody, namespace: default}\n\
                  spec: {selector: {app: nobody}, ports: [{port: 80}]}\n";
    fs::write(directory.join("nobody.yaml"), nobody).expect("can be written");
    let web = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: default, labels: {app: web}}\n\
               spec:\n  containers:\n    - {name: web, image: example/web, ports: [{containerPort: 8080}]}\n---\n\
               apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n\
               spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}\n";
    fs::write(directory.join("web.yaml"), web).expect("can be written");
}

/// `hopwise exec` over the example's brokers, opened by node ports of the policy Local.
fn exec(directory: &Path, rest: &[&str]) -> Command {
    write_inputs(directory);
    let manifests = scenarios().join("manifests");
    let mut command = Command::new(HOPWISE);
    command
        .arg("exec")
        .arg("-f")
        .arg(manifests.join("brokers.yaml"))
        .arg("-f")
        .arg(manifests.join("nodeport.yaml"));
    command.arg("-f").arg(directory.join("nobody.yaml")).arg("-f").arg(directory.join("web.yaml"));
    command.arg("--cluster").arg(directory.join("cluster.yaml"));
    command.args(rest);
    command
}

/// Runs it; status, standard output and standard error.
fn run(rest: &[&str]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let Output { status, stdout, stderr } = exec(directory.path(), rest).output().expect("starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// What connecting from `place` comes to, within 4 s.
fn dial(place: &str, host: &str, port: u16) -> (Option<i32>, String) {
    let script = format!("timeout 4 bash -c ': > /dev/tcp/{host}/{port}' 2>&1");
    let (status, said, _) = run(&["--from", place, "--", "bash", "-c", &script]);
    (status, said)
}

/// The status of coreutils' `timeout` when time is up.
const TIME_IS_UP: Option<i32> = Some(124);

#[test]
fn a_program_finds_the_places_address_resolver_and_name() {
    let script = "hostname; cat /etc/resolv.conf /etc/hosts; grep -B1 '32 host LOCAL' /proc/net/fib_trie";
    let (status, said, error) = run(&["--from", "external", "--", "sh", "-c", script]);
    assert_eq!(status, Some(0), "{error}");
    assert!(said.starts_with("external\nnameserver 198.51.100.53\n"), "{said}");
    assert!(said.contains("198.51.100.101 external\n"), "{said}");
    assert!(said.contains("|-- 198.51.100.101\n"), "the interface has the address: {said}");
    let (_, said, error) = run(&["--from", "in-cluster", "--", "cat", "/etc/resolv.conf"]);
    assert!(
        said.contains(
            "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\n"
        ) && said.contains("ndots:5"),
        "{said}{error}"
    );
}

#[test]
fn a_broker_is_reached_by_its_nodes_port_and_by_its_pods_name() {
    assert_eq!(dial("external", "node-0.nodes.example.com", 31092), (Some(0), String::new()));
    let name = "redpanda-1.redpanda.redpanda.svc.cluster.local";
    assert_eq!(dial("in-cluster", name, 10092), (Some(0), String::new()));
    // A whole exchange, over HTTP: the Admin API says that its broker is ready.
    let script = "exec 3<>/dev/tcp/node-2.nodes.example.com/31644; \
                  printf 'GET /v1/status/ready HTTP/1.0\\r\\nHost: a\\r\\n\\r\\n' >&3; cat <&3";
    let (status, said, error) = run(&["--from", "external", "--", "bash", "-c", script]);
    assert!(
        status == Some(0) && said.contains("200 OK") && said.contains("ready"),
        "{status:?} {said}{error}"
    );
}

#[test]
fn the_node_port_of_a_node_without_a_broker_is_silent_under_the_policy_local() {
    assert_eq!(dial("external", "10.0.0.13", 31092), (TIME_IS_UP, String::new()));
}

#[test]
fn a_service_without_endpoints_refuses() {
    let (status, said) = dial("in-cluster", "nobody.default.svc.cluster.local", 80);
    assert!(status == Some(1) && said.contains("Connection refused"), "{status:?} {said}");
}

#[test]
fn what_is_not_in_the_simulated_network_cannot_be_reached() {
    // The machine's own loopback and its resolver are outside.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("has one").port();
    let (status, said) = dial("external", "127.0.0.1", port);
    assert!(status == Some(1) && said.contains("refused"), "{status:?} {said}");
    let (status, said) = dial("external", "example.org", 80);
    assert!(status == Some(1) && said.contains("not known"), "{status:?} {said}");
}

#[test]
fn the_status_is_the_programs() {
    assert_eq!(run(&["--from", "external", "--", "sh", "-c", "exit 7"]).0, Some(7));
    assert_eq!(run(&["--from", "external", "--", "sh", "-c", "kill -TERM $$"]).0, Some(143));
    let (status, _, error) = run(&["--from", "external", "--", "no-such-program"]);
    assert!(status == Some(127) && error.contains("no-such-program"), "{status:?} {error}");
}

#[test]
fn a_place_that_is_not_there_is_an_input_error() {
    for (arguments, words) in [
        (&["--from", "node/node-9", "--", "true"][..], "there is no node node-9"),
        (&["--from", "nowhere", "--", "true"], "is no place"),
        (&["--from", "external", "--from", "external", "--", "true"], "given twice"),
        (&["--from", "external"], "COMMAND"),
    ] {
        let (status, said, error) = run(arguments);
        let unwrapped = error.replace("\n  │ ", " ");
        assert!(
            status == Some(2) && said.is_empty() && unwrapped.contains(words),
            "{arguments:?}: {status:?} {error}"
        );
    }
}

#[test]
fn a_program_at_each_of_several_places() {
    let (status, said, error) =
        run(&["--from", "external", "--from", "node/node-1", "--from", "in-cluster", "--", "hostname"]);
    let mut names: Vec<_> = said.lines().collect();
    names.sort_unstable();
    assert_eq!((status, names), (Some(0), vec!["external", "hopwise-client", "node-1"]), "{error}");
}

/// `hopwise exec` over three brokers whose listeners speak TLS, with certificates as cert-manager issues them if no duration
/// is asked for: for 90 days.
fn exec_secured(directory: &Path, rest: &[&str]) -> Output {
    let secured = fs::read_to_string(scenarios().join("manifests/secured.yaml")).expect("an example");
    let briefly = secured.replace("  duration: 43800h\n", "");
    assert_eq!(briefly.matches("duration").count(), 0);
    fs::write(directory.join("secured.yaml"), briefly).expect("can be written");
    let names = (0..3).map(|n| format!("  redpanda-{n}.kafka.example.com: node/node-{n}\n"));
    let cluster = format!("externalNames:\n{}", names.collect::<String>());
    fs::write(directory.join("cluster.yaml"), cluster).expect("can be written");
    let mut command = Command::new(HOPWISE);
    command.arg("exec").arg("-f").arg(directory.join("secured.yaml"));
    command.arg("--cluster").arg(directory.join("cluster.yaml")).args(rest).output().expect("starts")
}

#[test]
fn a_program_trusts_the_authority_that_a_secret_gives_it_as_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let certificates = directory.path().join("certificates");
    fs::create_dir(&certificates).expect("can be made");
    fs::write(certificates.join("own.crt"), "hidden").expect("can be written");
    // The certificate is checked: who signed it, its name, and by the machine's clock its dates.
    let ask = "import os, ssl, sys, urllib.request as r; d = sys.argv[1]; print(*sorted(os.listdir(d))); \
               c = ssl.create_default_context(cafile=d + '/ca.crt'); \
               o = r.build_opener(r.ProxyHandler({}), r.HTTPSHandler(context=c)); \
               print(o.open('https://redpanda-0.kafka.example.com:31644/v1/status/ready', timeout=20).status); \
               open(d + '/new', 'w')";
    let at = certificates.to_str().expect("text");
    let secret = format!("secured/redpanda-outside={at}");
    let output = exec_secured(
        directory.path(),
        &["--secret", &secret, "--from", "external", "--", "python3", "-c", ask, at],
    );
    let [said, error] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert_eq!(said, "ca.crt tls.crt tls.key\n200\n", "{error}");
    assert!(error.contains("Read-only file system"), "nobody writes into a Secret: {error}");
    let left: Vec<_> =
        fs::read_dir(&certificates).expect("is there").map(|it| it.expect("an entry").file_name()).collect();
    assert_eq!(left, ["own.crt"], "outside the directory is as it was");
}

#[test]
fn a_secret_or_directory_that_is_not_there_is_an_input_error() {
    let directory = tempfile::tempdir().expect("a directory");
    for (secret, words) in [
        ("secured/redpanda-outsid=/mnt", "did you mean secured/redpanda-outside?"),
        ("secured/redpanda-outside=/no/where", "/no/where is no directory of this machine"),
        ("redpanda-outside=/mnt", "expected `NAMESPACE/NAME=DIRECTORY`"),
    ] {
        let output =
            exec_secured(directory.path(), &["--secret", secret, "--from", "external", "--", "true"]);
        let error = String::from_utf8_lossy(&output.stderr).replace("\n  │ ", " ");
        assert!(output.status.code() == Some(2) && error.contains(words), "{secret}: {error}");
    }
}

/// The processes below `pid`, itself included.
fn processes_below(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(processes_below);
    [pid].into_iter().chain(below).collect()
}

fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits until `f` holds; a machine under load may take its time.
#[expect(clippy::disallowed_methods, reason = "waits for processes of the machine")]
fn until(what: &str, mut f: impl FnMut() -> bool) {
    for _ in 0..600 {
        if f() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("after 60 s still not: {what}");
}

#[test]
fn killing_it_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command =
        exec(directory.path(), &["--from", "external", "--", "sh", "-c", "sleep 1000 & sleep 1000"]);
    let mut child = command.stdout(Stdio::null()).spawn().expect("starts");
    // hopwise, its helper, init, the shell and both sleeps.
    until("everything runs", || processes_below(child.id()).len() == 6);
    let processes = processes_below(child.id());
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
    // Its namespaces have no names: they end with their last process, and the device with its namespace.
    until("all processes are gone", || !processes.iter().any(|pid| is_alive(*pid)));
}

/// Sends a process a signal.
fn send(signal: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
    assert!(status.expect("there is kill").success());
}

#[test]
fn sigterm_and_sigint_end_it_and_its_program_at_any_time() {
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        // Its program has nothing to hear of either.
        let deaf = "trap '' TERM INT; echo runs; while :; do sleep 1000; done";
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = exec(directory.path(), &["--from", "external", "--", "bash", "-c", deaf]);
        // A group of its own is not in the foreground of the terminal that these tests may be started from.
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().expect("starts");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        said.read_line(&mut String::new()).expect("says that it runs");
        let processes = processes_below(child.id());
        send(signal, child.id());
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(128 + number), "{signal}");
        until("all processes are gone", || !processes.iter().any(|pid| is_alive(*pid)));

        // While the cluster starts, in virtual time, there is nothing to end but the process itself.
        let mut child = exec(directory.path(), &["--from", "external", "--", "true"]);
        let mut child = child.process_group(0).stdout(Stdio::null()).spawn().expect("starts");
        send(signal, child.id());
        let status = child.wait().expect("it ends");
        assert_eq!(status.signal(), Some(number), "{signal}");
    }
}

/// What a web server on `host` answers, asked from outside.
fn asked(host: &str, port: u16) -> String {
    format!(
        "exec 3<>/dev/tcp/{host}/{port} && printf 'GET / HTTP/1.0\\r\\nHost: a\\r\\n\\r\\n' >&3 && cat <&3"
    )
}

const SERVER: &str = "pod/default/web=cd /proc/sys/kernel && exec python3 -m http.server 8080";

#[test]
fn a_service_leads_to_a_real_program_in_a_pod() {
    // The node is another one than the pod's, or not: Cluster policy leads there from all of them.
    for (place, host, port) in [
        ("external", "node-3.nodes.example.com", 30080),
        ("external", "node-0.nodes.example.com", 30080),
        ("in-cluster", "web.default.svc.cluster.local", 80),
    ] {
        let host = host.replace("node-3.nodes.example.com", "10.0.0.13");
        let (status, said, error) =
            run(&["--run", SERVER, "--from", place, "--", "bash", "-c", &asked(&host, port)]);
        assert!(
            status == Some(0) && said.contains("200 OK") && said.contains("osrelease"),
            "{status:?} {said}{error}"
        );
    }
}

#[test]
fn a_program_for_a_pod_that_is_not_there_or_that_ends_is_told() {
    let (status, _, error) = run(&["--run", "pod/default/wep=true", "--from", "external", "--", "true"]);
    let unwrapped = error.replace("\n  │ ", "");
    assert!(status == Some(2) && unwrapped.contains("did you mean pod/default/web?"), "{status:?} {error}");
    let (status, _, error) = run(&["--run", "pod/default/web=exit 3", "--from", "external", "--", "true"]);
    assert!(
        status == Some(2) && error.contains("pod/default/web: the program ended with status 3"),
        "{status:?} {error}"
    );
}
