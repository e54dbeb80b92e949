//! Scripts and what bash 5.2 makes of them (each expectation was compared with bash), and scripts that must not
//! crash the interpreter.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Exit, Files, NodeMetadata, NodeQuery, Rpk, ShellError, ShellErrorKind, run};

const CONFIGURATOR: &str = r#"set -xe
SERVICE_NAME=$1
KUBERNETES_NODE_NAME=$2
POD_ORDINAL=${SERVICE_NAME##*-}
BROKER_INDEX=`expr $POD_ORDINAL + 1`

CONFIG=/etc/redpanda/redpanda.yaml
cp /tmp/base/redpanda.yaml "${CONFIG}"

LISTENER="{\"address\":\"${SERVICE_NAME}.brokers.demo.svc.cluster.local.\",\"name\":\"internal\",\"port\":10092}"
rpk redpanda config --config "$CONFIG" set redpanda.advertised_kafka_api[0] "$LISTENER"

PUBLIC=()
PREFIX="$POD_ORDINAL-$(echo -n $HOST_IP_ADDRESS | sha256sum | head -c 7)"
PUBLIC+=("{\"address\":\"$PREFIX.example.com\",\"name\":\"public\",\"port\":31001}")
PREFIX="b$BROKER_INDEX"
PUBLIC+=("{\"address\":\"$PREFIX.example.com\",\"name\":\"public\",\"port\":31002}")
rpk --config "$CONFIG" redpanda config set redpanda.advertised_kafka_api[1] "${PUBLIC[$POD_ORDINAL]}"

RACK=$(curl --silent --cacert /run/ca.crt --fail -H 'Authorization: Bearer '$(cat /run/token) "https://${API_HOST}:${API_PORT}/api/v1/nodes/${KUBERNETES_NODE_NAME}?pretty=true" | grep '"topology.kubernetes.io/zone"' | grep -v '\"key\":' | sed 's/.*": "\([^"]\+\).*/\1/')
set +x
rpk --config "$CONFIG" redpanda config set redpanda.rack "$RACK"
"#;

fn shell(script: &str) -> Result<Exit, ShellError> {
    let mut files = Files::from([("/data/words".to_owned(), b"one two\nthree\n".to_vec())]);
    let command = ["/bin/bash", "-c", script, "bash", "redpanda-12", "node a"].map(str::to_owned);
    let env = BTreeMap::from([("HOME_ZONE".to_owned(), "zone a".to_owned())]);
    run(&command, &env, &mut files, &mut ())
}

#[track_caller]
fn assert_prints(script: &str, expected: &str) {
    let exit = shell(script).unwrap_or_else(|error| panic!("{script}: {error}"));
    assert_eq!(String::from_utf8_lossy(&exit.stdout), expected, "{script}");
}

#[track_caller]
fn assert_status(script: &str, expected: i32) {
    assert_eq!(shell(script).map(|exit| exit.status), Ok(expected), "{script}");
}

#[track_caller]
fn refusal(script: &str) -> ShellError {
    shell(script).expect_err(script)
}

#[test]
fn quoting() {
    assert_prints(
        r#"echo a   b "c  d" 'e  f' \$x "\$x" "a\b" 'a\b' a\ b"#,
        "a b c  d e  f $x $x a\\b a\\b a b\n",
    );
    assert_prints(r#"X='a  b'; echo $X "$X" "$X"c$X"#, "a b a  b a  bca b\n");
    assert_prints(r#"E=; echo a $E "$E" b; echo $'tab\there'"#, "a  b\ntab\there\n");
    assert_prints("echo \"a\\\nb\" c\\\nd", "ab cd\n");
}

#[test]
fn parameters() {
    assert_prints("X=$1; echo ${X##*-} ${X#*-} ${X%-*} ${X%%a*} \"${X##*d}\"", "12 12 redpanda redp a-12\n");
    assert_prints(
        "echo ${U:-none} \"${U:-a b}\" ${U-d} ${HOME_ZONE:+set} ${#1} ${1:0:3} ${1: -2}",
        "none a b d set 11 red 12\n",
    );
    assert_prints("echo $# \"$2\" $0 \"$@\"; shift; echo $1", "2 node a bash redpanda-12 node a\nnode a\n");
    assert_prints("H=10.0.0.1; echo ${H//./-} ${H/%1/X} ${H/#10/Y}", "10-0-0-1 10.0.0.X Y.0.0.1\n");
    assert_status("set -u; echo $missing", 127);
}

#[test]
fn arrays() {
    let filled = r#"A=(); A+=("x y"); A+=("{\"p\":1}"); A+=(z w);"#;
    assert_prints(
        &format!("{filled} I=1; echo \"${{A[0]}}\" \"${{A[$I]}}\" ${{#A[@]}} \"${{A[-1]}}\""),
        "x y {\"p\":1} 4 w\n",
    );
    assert_prints(
        &format!("{filled} for x in \"${{A[@]}}\"; do echo \"<$x>\"; done"),
        "<x y>\n<{\"p\":1}>\n<z>\n<w>\n",
    );
}

#[test]
fn substitution_and_arithmetic() {
    assert_prints("echo `expr 3 + 4` $(expr 2 \\* 3) $((1+2*3)) $((2**10)) $((-7/2))", "7 6 7 1024 -3\n");
    assert_prints(r#"echo "a$(echo "b$(echo "c")")d" "`echo \"q r\"`""#, "abcd q r\n");
    assert_prints("echo $(echo -n 10.0.0.10 | sha256sum | head -c 7)", &format!("{}\n", sha_prefix()));
    assert_prints("echo \"$(printf 'a\\n\\n\\n')b\"", "ab\n");
}

fn sha_prefix() -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(b"10.0.0.10").iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>()[..7]
        .to_owned()
}

#[test]
fn filters() {
    assert_prints("cat /data/words | grep -v three | cut -d' ' -f2", "two\n");
    assert_prints(
        "echo abc | tr a-c A-C; echo 'a:b' | tr ':' '\\n'; head -n1 /data/words",
        "ABC\na\nb\none two\n",
    );
    assert_prints(
        "echo foobar | sed 's/o/0/g'; echo 'a*b' | sed 's/*/+/'; echo a/b | sed 's#/#-#'",
        "f00bar\na+b\na-b\n",
    );
    assert_prints("printf '%s-%05d|%-4s|\\n' a 42 b", "a-00042|b   |\n");
    assert_prints("cp /data/words /data/copy; wc -l < /data/copy", "2\n");
}

#[test]
fn control_flow() {
    assert_prints("if false; then echo no; elif [ -f /data/words ]; then echo yes; fi", "yes\n");
    assert_prints(
        "for a in 1 2 3; do for b in x y; do [ $a = 2 ] && break 2; echo $a$b; done; done",
        "1x\n1y\n",
    );
    assert_prints("i=0; while [ $i -lt 3 ]; do i=$((i+1)); [ $i = 2 ] && continue; echo $i; done", "1\n3\n");
    assert_prints("case $1 in foo) echo 1;; red*-[0-9]*|bar) echo match;; *) echo other;; esac", "match\n");
    assert_prints("[[ $1 == red* && ! -z x ]] && echo both; (X=1); echo \"[$X]\"", "both\n[]\n");
    assert_prints("true & wait $!; echo $?; false & wait $!; echo $?", "0\n1\n");
}

#[test]
fn errexit_names_the_line() {
    let exit = shell(
        "set -e\nfalse || true\nif false; then :; fi\nX=$(false; echo sub)\n\ncat /missing\necho never",
    )
    .unwrap();
    let failed = exit.failed.expect("a failure");
    assert_eq!((exit.status, failed.line, failed.command.as_str()), (1, 6, "cat"));
    assert_eq!(exit.stdout, b"");
    let exit = shell("set -e\nX=$(exit 4)\necho never").unwrap();
    assert_eq!(
        (exit.status, exit.failed.map(|failure| (failure.line, failure.command))),
        (4, Some((2, "X".to_owned())))
    );
    assert_status("false; true", 0);
    assert_status("nosuchcommand", 127);
}

#[test]
fn streams() {
    assert_prints(
        "echo a > /o; echo b >> /o; cat < /o; cat /missing 2>/dev/null || echo failed",
        "a\nb\nfailed\n",
    );
    assert_prints("{ echo a; echo b; } > /o; (echo e >&2) 2>&1; cat /o", "e\na\nb\n");
    let exit = shell("set -x; A='a b'; echo $A \"$A\"").unwrap();
    assert_eq!(String::from_utf8_lossy(&exit.stderr), "+ A='a b'\n+ echo a b 'a b'\n");
}

#[test]
fn what_is_left_out_is_refused_with_its_line() {
    let scripts = [
        "f() { echo; }",
        "cat <<EOF\nx\nEOF",
        "cat <(echo x)",
        "echo {a,b}",
        "echo ~/x",
        "IFS=:",
        "trap 'echo x' EXIT",
        "awk '{print}'",
        "grep -P x",
        "sed 1d",
        "echo ${!x}",
        "echo ${x^^}",
        "exec > /log",
        "declare -A m",
        "coproc cat",
    ];
    for script in scripts {
        let error = refusal(&format!("echo before\n{script}"));
        assert_eq!((error.line, error.kind), (2, ShellErrorKind::NotInterpreted), "{script}: {error}");
    }
    assert_eq!(refusal("echo a\necho b\nif true; then").kind, ShellErrorKind::Syntax);
    assert_eq!(refusal("echo a\nX=$(echo b\nset -k)").line, 3);
}

#[test]
fn limits_end_what_would_not_end() {
    for script in
        ["while true; do :; done", "X=aaaaaaaaaa; while true; do X=$X$X; done", "while :; do echo x; done"]
    {
        assert!(matches!(refusal(script).kind, ShellErrorKind::Limit { .. }), "{script}");
    }
    for (open, close) in
        [("$(echo ", ")"), ("( ", " )"), ("if true; then ", " fi"), ("${x:-", "}"), ("$((", "))")]
    {
        let script = format!("echo {}x{}", open.repeat(5000), close.repeat(5000));
        assert!(shell(&script).is_err(), "{open}");
    }
}

#[test]
fn scripts_start_scripts() {
    let mut files = Files::from([
        ("/s/plain.sh".to_owned(), b"echo $0 $1 $#; exit 3\n".to_vec()),
        ("/s/marked.sh".to_owned(), b"#!/usr/bin/env bash\nset -e\necho \"$E\"\nfalse\n".to_vec()),
        ("/s/tool.py".to_owned(), b"#!/usr/bin/python3\n".to_vec()),
    ]);
    let env = BTreeMap::from([("E".to_owned(), "v".to_owned()), ("S".to_owned(), "/s/plain.sh".to_owned())]);
    let mut start = |command: &[&str]| {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        run(&command, &env, &mut files, &mut ())
    };
    let exit = start(&["/bin/bash", "-c", "trap \"exit 0\" TERM; exec $S \"a b\" & wait $!"]).unwrap();
    assert_eq!((exit.status, exit.stdout.as_slice()), (3, b"/s/plain.sh a b 1\n".as_slice()));
    assert_eq!(start(&["sh", "/s/plain.sh", "x"]).unwrap().stdout, b"/s/plain.sh x 1\n");
    let exit = start(&["/s/marked.sh"]).unwrap();
    let failure = exit.failed.expect("a failure");
    assert_eq!((exit.status, failure.script.as_str(), failure.line), (1, "/s/marked.sh", 4));
    assert!(start(&["/s/tool.py"]).is_err());
    assert_eq!(start(&["/s/missing.sh"]).unwrap().status, 127);
}

fn configure(pod: &str, script: &str) -> (Result<Exit, ShellError>, Files) {
    let base = "redpanda:\n  kafka_api:\n    - address: 0.0.0.0\n      name: internal\n      port: 10092\n  empty_seed_starts_cluster: false\n";
    let mut files = Files::from([
        ("/s/configurator.sh".to_owned(), script.as_bytes().to_vec()),
        ("/tmp/base/redpanda.yaml".to_owned(), base.as_bytes().to_vec()),
        ("/run/token".to_owned(), b"secret".to_vec()),
    ]);
    let env = BTreeMap::from([("HOST_IP_ADDRESS".to_owned(), "10.0.0.10".to_owned())]);
    let labels = BTreeMap::from([("topology.kubernetes.io/zone".to_owned(), "zone-b".to_owned())]);
    let nodes = BTreeMap::from([("node-1".to_owned(), NodeMetadata { labels, ..NodeMetadata::default() })]);
    let command = ["bash", "/s/configurator.sh", pod, "node-1"].map(str::to_owned);
    let result = run(&command, &env, &mut files, &mut (Rpk, NodeQuery { nodes }));
    (result, files)
}

#[test]
fn a_configurator_writes_what_each_broker_advertises() {
    let (exit, files) = configure("redpanda-1", CONFIGURATOR);
    assert_eq!(exit.expect("interpreted").status, 0);
    insta::assert_snapshot!(String::from_utf8_lossy(&files["/etc/redpanda/redpanda.yaml"]), @r#"
    redpanda:
      kafka_api:
      - address: "0.0.0.0"
        name: internal
        port: 10092
      empty_seed_starts_cluster: false
      advertised_kafka_api:
      - address: redpanda-1.brokers.demo.svc.cluster.local.
        name: internal
        port: 10092
      - address: b2.example.com
        name: public
        port: 31002
      rack: zone-b
    "#);
    let (_, files) = configure("redpanda-0", CONFIGURATOR);
    let written = String::from_utf8_lossy(&files["/etc/redpanda/redpanda.yaml"]);
    assert!(written.contains(&format!("0-{}.example.com", sha_prefix())), "{written}");
}

#[test]
fn rpk_refuses_what_it_cannot_place() {
    for (call, message) in [
        ("set redpanda.kafka_api[2] x", "index 2 is out of range"),
        ("set redpanda.kafka_api.port 1", "lies below a value that is not a section"),
        ("set redpanda[0] 1", "not a list"),
        ("set redpanda..x 1", "is not of the form"),
        ("set redpanda.x {", "not YAML"),
        ("import f", "not interpreted"),
    ] {
        let script = format!("rpk redpanda config --config /tmp/base/redpanda.yaml {call}");
        let (exit, _) = configure("redpanda-0", &script);
        let exit = exit.expect("interpreted");
        assert_eq!(exit.status, 1, "{call}");
        assert!(String::from_utf8_lossy(&exit.stderr).contains(message), "{call}: {exit:?}");
    }
}

/// Cuts, doubles and swaps pieces of a script and puts special characters between them.
fn mutate(script: &str, edits: &[(usize, usize, u8)]) -> String {
    const SPECIAL: [&str; 20] = [
        "\"", "'", "`", "$(", ")", "${", "}", "$((", "))", "\\", "|", "&&", ";", "<", ">", "[", "(", "{",
        "\n", "é$",
    ];
    let mut characters: Vec<char> = script.chars().collect();
    for &(at, length, kind) in edits {
        let at = at % (characters.len() + 1);
        let end = (at + length).min(characters.len());
        match kind % 3 {
            0 => drop(characters.drain(at..end)),
            1 => {
                let copy = characters[at..end].to_vec();
                characters.splice(at..at, copy);
            }
            _ => drop(characters.splice(at..at, SPECIAL[length % SPECIAL.len()].chars())),
        }
    }
    characters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_script_panics(edits in prop::collection::vec((0_usize..4000, 0_usize..40, any::<u8>()), 1..8)) {
        let script = mutate(CONFIGURATOR, &edits);
        if let (Err(error), _) = configure("redpanda-1", &script) {
            prop_assert!(error.line >= 1);
        }
    }

    #[test]
    fn no_text_panics(script in "[a-c$(){}\\[\\]\"'`\\\\ ;|&<>=+*?!#~/%:@0-9\n-]{0,60}") {
        let _ = shell(&script);
    }
}
