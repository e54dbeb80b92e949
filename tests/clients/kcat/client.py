"""kcat (librdkafka): the checks, by its command line."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "driver"))
import harness as h  # noqa: E402

SECURITY = []
ADMIN = "the program only lists metadata, produces and consumes"


def kcat(*arguments, data=None, timeout=60, fails=False):
    """Runs kcat and returns what it printed."""
    command = ["kcat", "-b", h.BOOTSTRAP, *SECURITY, *arguments]
    ended = subprocess.run(command, input=data, capture_output=True, timeout=timeout)
    if fails:
        return ended.returncode, ended.stderr.decode(errors="replace")
    h.true(ended.returncode == 0, f"{arguments} ended with {ended.returncode}: {ended.stderr.decode()[-300:]}")
    return ended.stdout


def metadata():
    found = json.loads(kcat("-L", "-J"))
    got = {broker["id"]: broker["name"] for broker in found["brokers"]}
    h.equal(got, h.BROKERS, "brokers")
    h.true(found["controllerid"] in got, "the controller is a broker")


def produce(topic, lines, *more):
    kcat("-P", "-t", topic, "-K", "\t", "-X", "acks=all", *more, data="".join(line + "\n" for line in lines).encode())


def consume(topic, count, *more, form="%p %o %k %s\n"):
    got = kcat("-C", "-t", topic, "-o", "beginning", "-c", str(count), "-f", form, "-q", *more)
    return got.decode().splitlines()


def produce_fetch():
    # The topic is made by the first record, with the cluster's default of one partition.
    lines = [f"key-{i}\tvalue-{i}-{'x' * (i % 300)}" for i in range(h.RECORDS)]
    produce("kc-records", lines, "-H", "number=1", "-H", "word=two")
    got = consume("kc-records", h.RECORDS, form="%p %o %h %k\t%s\n")
    wanted = {}
    for line in got:
        partition, offset, headers, record = line.split(" ", 3)
        h.equal(headers, "number=1,word=two", "headers")
        h.equal(int(offset), wanted.setdefault(partition, 0), "offset")
        wanted[partition] += 1
    h.equal(sorted(line.split(" ", 3)[3] for line in got), sorted(lines), "records")


def codec(kind):
    def check():
        lines = [f"k{i}\t{i}-{'compressible ' * 50}" for i in range(100)]
        produce(f"kc-codec-{kind}", lines, "-z", kind)
        h.equal(consume(f"kc-codec-{kind}", 100, form="%k\t%s\n"), lines, "records")
    check.__name__ = f"codec_{kind}"
    return check


def idempotent_producer():
    lines = [f"k{i}\tv{i}" for i in range(500)]
    produce("kc-idempotent", lines, "-X", "enable.idempotence=true")
    h.equal(consume("kc-idempotent", 500, form="%k\t%s\n"), lines, "records")


def transaction_commit():
    produce("kc-commit", [f"k{i}\tc{i}" for i in range(20)], "-X", "transactional.id=kc-commit")
    got = consume("kc-commit", 20, "-X", "isolation.level=read_committed", form="%s\n")
    h.equal(got, [f"c{i}" for i in range(20)], "committed values")


def list_offsets():
    produce("kc-offsets", [f"k{i}\tv{i}" for i in range(100)])
    h.equal(query("kc-offsets:0:-2"), 0, "earliest")
    h.equal(query("kc-offsets:0:-1"), 100, "latest")
    times = consume("kc-offsets", 100, form="%T\n")
    h.equal(query(f"kc-offsets:0:{times[0]}"), 0, "by time")


def query(what):
    return int(kcat("-Q", "-t", what).decode().split("offset ")[1].split()[0])


def out_of_range_reset():
    produce("kc-range", [f"k{i}\tv{i}" for i in range(10)])
    got = kcat("-C", "-t", "kc-range", "-p", "0", "-o", "1000", "-c", "10", "-f", "%s\n", "-q", "-X",
               "topic.auto.offset.reset=earliest")
    h.equal(got.decode().split(), [f"v{i}" for i in range(10)], "values after the reset")


def group_offsets():
    produce("kc-group", [f"k{i}\tv{i}" for i in range(20)])
    group = ["-q", "-X", "auto.offset.reset=earliest", "-f", "%s\n"]
    first = kcat("-G", "kc-group", "-c", "12", *group, "kc-group").decode().split()
    second = kcat("-G", "kc-group", "-c", "8", *group, "kc-group").decode().split()
    h.equal(first + second, [f"v{i}" for i in range(20)], "what two consumers of a group read, one after the other")


def large_record():
    value = os.urandom(900 * 1024).hex()[:900 * 1024]
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"kcat-large-{os.getpid()}")
    with open(path, "w") as out:
        out.write(value)
    try:
        kcat("-P", "-t", "kc-large", path)
    finally:
        os.unlink(path)
    got = kcat("-C", "-t", "kc-large", "-o", "beginning", "-c", "1", "-q").decode().rstrip("\n")
    h.true(got == value, "the value is as it was sent")


def tombstones():
    kcat("-P", "-t", "kc-tombstones", "-K", "\t", "-Z", data=b"a\t\nb\tfull\n")
    h.equal(consume("kc-tombstones", 2, form="%k %S\n"), ["a -1", "b 4"], "keys and lengths")


def unknown_topic():
    status, said = kcat("-C", "-t", "kc-nowhere", "-c", "1", "-X", "allow.auto.create.topics=false", "-e", fails=True,
                        timeout=30)
    h.true(status != 0 and "Unknown topic" in said, f"status {status}: {said[-200:]}")


def round_trip(topic):
    lines = [f"k{i}\tv{i}" for i in range(10)]
    produce(topic, lines)
    h.equal(consume(topic, 10, form="%k\t%s\n"), lines, "records")


def secure(mechanism, password):
    SECURITY[:] = ["-X", "security.protocol=SASL_PLAINTEXT", "-X", f"sasl.mechanism={mechanism}",
                   "-X", f"sasl.username={h.user(mechanism)}", "-X", f"sasl.password={password}"]


def sasl(mechanism):
    def check():
        secure(mechanism, h.PASSWORD)
        round_trip("kc-" + mechanism.lower())
    check.__name__ = "sasl_" + mechanism.lower().replace("-", "_")
    return check


def sasl_wrong_password():
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        secure(mechanism, "wrong")
        status, said = kcat("-L", "-m", "8", fails=True)
        h.true(status != 0 and "uthentication" in said, f"{mechanism}: status {status}: {said[-200:]}")


def tls():
    SECURITY[:] = ["-X", "security.protocol=SSL", "-X", f"ssl.ca.location={h.CA}"]
    round_trip("kc-tls")


def restart_write():
    produce("kc-restart", [f"k{i}\tv{i}" for i in range(20)])
    got = kcat("-G", "kc-restart", "-c", "12", "-q", "-X", "auto.offset.reset=earliest", "kc-restart")
    h.equal(len(got.split()), 12, "records")


def restart_read():
    got = kcat("-G", "kc-restart", "-c", "8", "-q", "-X", "auto.offset.reset=earliest", "kc-restart").decode().split()
    h.equal(got, [f"v{i}" for i in range(12, 20)], "where the group goes on")


def missing(*names):
    return [(name, ADMIN) for name in names]


h.run({
    "plain": [
        metadata, *missing("create-topic"), produce_fetch,
        *[codec(kind) for kind in ("none", "gzip", "snappy", "lz4", "zstd")], idempotent_producer,
        transaction_commit, *missing("transaction-abort", "transaction-offsets"), list_offsets, out_of_range_reset,
        ("fetch-session", "librdkafka does not use fetch sessions"),
        *missing("group-rebalance", "group-static", "group-cooperative"), group_offsets,
        *missing("describe-configs", "alter-configs", "create-partitions", "delete-records", "list-groups",
                 "describe-groups", "delete-groups", "alter-group-offsets", "acls", "scram-users", "delete-topic"),
        large_record, tombstones, unknown_topic, *missing("describe-cluster", "kip-848"),
    ],
    "sasl": [sasl("PLAIN"), sasl("SCRAM-SHA-256"), sasl("SCRAM-SHA-512"), sasl_wrong_password],
    "tls": [tls],
    "restart-write": [restart_write],
    "restart-read": [restart_read],
})
