"""kafka-python 3: the checks."""

import logging
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "driver"))
import harness as h  # noqa: E402
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition  # noqa: E402
from kafka.structs import OffsetAndMetadata  # noqa: E402
import kafka.admin as ka  # noqa: E402
import kafka.errors as errors  # noqa: E402

logging.basicConfig(level=logging.ERROR)
SECURITY = {}


def config(**more):
    return {"bootstrap_servers": h.BOOTSTRAP.split(","), "request_timeout_ms": 20000, **SECURITY, **more}


def with_admin(use):
    admin = KafkaAdminClient(**config())
    try:
        return use(admin)
    finally:
        admin.close()


def create(topic, partitions=1, **configs):
    def use(admin):
        admin.create_topics([ka.NewTopic(topic, partitions, h.REPLICAS, topic_configs=configs)])

        def known():
            found = admin.describe_topics([topic])[0]
            parts = found.get("partitions", [])
            return len(parts) == partitions and all(leader(part) >= 0 for part in parts)
        h.until(f"topic {topic} is known", known)
    with_admin(use)
    return topic


def leader(partition):
    return partition.get("leader", partition.get("leader_id", -1))


def producer(**more):
    return KafkaProducer(**config(**{"acks": "all", **more}))


def produce(topic, messages, **more):
    """Sends (partition, key, value, headers, timestamp) and returns the offsets."""
    sender = producer(**more)
    try:
        futures = [sender.send(topic, value=value, key=key, partition=partition, headers=headers or [],
                               timestamp_ms=timestamp or h.BASE_MS)
                   for partition, key, value, headers, timestamp in messages]
        sender.flush(h.PATIENCE)
        return [future.get(h.PATIENCE).offset for future in futures]
    finally:
        sender.close(5)


def simple(count, start=0, partition=0):
    return [(partition, b"k%d" % i, b"v%d" % i, None, h.BASE_MS + i) for i in range(start, start + count)]


def reader(topic, partitions=(0,), start=None, **more):
    consumer = KafkaConsumer(**config(**{"enable_auto_commit": False, "auto_offset_reset": "earliest", **more}))
    assigned = [TopicPartition(topic, partition) for partition in partitions]
    consumer.assign(assigned)
    for partition in assigned:
        if start is None:
            consumer.seek_to_beginning(partition)
        else:
            consumer.seek(partition, start)
    return consumer


def consume(topic, partitions, count, start=None, **more):
    consumer = reader(topic, partitions, start, **more)
    try:
        return poll(consumer, count)
    finally:
        consumer.close()


def poll(consumer, count, patience=h.PATIENCE):
    messages, end = [], time.monotonic() + patience
    while len(messages) < count:
        h.true(time.monotonic() < end, f"{len(messages)} of {count} messages within {patience} s")
        for batch in consumer.poll(timeout_ms=200).values():
            messages += batch
    return messages


def values(messages):
    return [message.value for message in messages]


def numbered(count, start=0):
    return [b"v%d" % i for i in range(start, start + count)]


def metadata():
    def use(admin):
        cluster = admin.describe_cluster()
        got = {b.get("node_id", b.get("broker_id")): f"{b['host']}:{b['port']}" for b in cluster["brokers"]}
        h.equal(got, h.BROKERS, "brokers")
        h.true(cluster["controller_id"] in got, "the controller is a broker")
    with_admin(use)


def create_topic():
    create("kp-create", h.PARTITIONS)

    def use(admin):
        found = admin.describe_topics(["kp-create"])[0]
        for part in found["partitions"]:
            replicas = part.get("replicas", part.get("replica_nodes"))
            h.equal(len(set(replicas)), h.REPLICAS, "replicas")
            h.true(leader(part) in replicas, "the leader is a replica")
        try:
            admin.create_topics([ka.NewTopic("kp-create", 1, h.REPLICAS)])
        except errors.TopicAlreadyExistsError:
            return
        raise AssertionError("a topic can be created twice")
    with_admin(use)


def produce_fetch():
    topic = create("kp-records", h.PARTITIONS)
    wanted = [h.record(i) for i in range(h.RECORDS)]
    produce(topic, [(i % h.PARTITIONS, *wanted[i]) for i in range(h.RECORDS)])
    by_partition = {}
    for m in consume(topic, range(h.PARTITIONS), h.RECORDS):
        by_partition.setdefault(m.partition, []).append((m.key, m.value, list(m.headers), m.timestamp))
    for partition in range(h.PARTITIONS):
        h.equal(by_partition[partition], wanted[partition::h.PARTITIONS], f"records of partition {partition}")


def codec(kind):
    def check():
        topic = create(f"kp-codec-{kind}")
        sent = [b"%d-" % i + b"compressible " * 50 for i in range(100)]
        produce(topic, [(0, None, value, None, 0) for value in sent], linger_ms=50,
                compression_type=None if kind == "none" else kind)
        h.equal(values(consume(topic, [0], 100)), sent, "values")
    check.__name__ = f"codec_{kind}"
    return check


def idempotent_producer():
    topic = create("kp-idempotent")
    h.equal(produce(topic, simple(500), enable_idempotence=True), list(range(500)), "offsets")
    h.equal(values(consume(topic, [0], 500)), numbered(500), "values")


def transactional(identity):
    sender = producer(transactional_id=identity)
    sender.init_transactions()
    return sender


def send_in_transaction(sender, topic, sent):
    sender.begin_transaction()
    futures = [sender.send(topic, value=value, partition=0) for value in sent]
    for future in futures:
        future.get(h.PATIENCE)


def transaction_commit():
    topic = create("kp-commit")
    sender = transactional("kp-commit")
    for start in (0, 10):
        send_in_transaction(sender, topic, numbered(10, start))
        sender.commit_transaction()
    sender.close(5)
    h.equal(values(consume(topic, [0], 20, isolation_level="read_committed")), numbered(20), "committed values")


def transaction_abort():
    topic = create("kp-abort")
    sender = transactional("kp-abort")
    send_in_transaction(sender, topic, [b"aborted"] * 5)
    committed = reader(topic, isolation_level="read_committed")
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        h.equal(committed.poll(timeout_ms=100), {}, "read_committed of an open transaction")
    sender.abort_transaction()
    send_in_transaction(sender, topic, [b"kept"])
    sender.commit_transaction()
    sender.close(5)
    h.equal(values(poll(committed, 1)), [b"kept"], "read_committed")
    committed.close()
    got = consume(topic, [0], 6, isolation_level="read_uncommitted")
    h.equal(values(got), [b"aborted"] * 5 + [b"kept"], "read_uncommitted")


def transaction_offsets():
    source, sink = create("kp-source"), create("kp-sink")
    produce(source, simple(10))
    consumer = KafkaConsumer(source, **config(group_id="kp-txn", auto_offset_reset="earliest",
                                              enable_auto_commit=False))
    poll(consumer, 10)
    sender = transactional("kp-txn-offsets")
    partition = TopicPartition(source, 0)
    for outcome in ("abort", "commit"):
        send_in_transaction(sender, sink, [outcome.encode()])
        sender.send_offsets_to_transaction({partition: OffsetAndMetadata(10, "", -1)}, group_of(consumer))
        if outcome == "abort":
            sender.abort_transaction()
            h.equal(consumer.committed(partition), None, "committed after an abort")
        else:
            sender.commit_transaction()
    sender.close(5)
    h.until("the offset", lambda: consumer.committed(partition) == 10)
    consumer.close()
    h.equal(values(consume(sink, [0], 1, isolation_level="read_committed")), [b"commit"], "the sink")


def group_of(consumer):
    metadata = getattr(consumer, "group_metadata", None)
    return metadata() if metadata else "kp-txn"


def list_offsets():
    topic = create("kp-offsets")
    produce(topic, simple(100))
    consumer = KafkaConsumer(**config())
    partition = TopicPartition(topic, 0)
    h.equal(consumer.beginning_offsets([partition])[partition], 0, "earliest")
    h.equal(consumer.end_offsets([partition])[partition], 100, "latest")
    h.equal(consumer.offsets_for_times({partition: h.BASE_MS + 42})[partition].offset, 42, "by time")
    h.equal(consumer.offsets_for_times({partition: h.BASE_MS + 10**9})[partition], None, "after the last")
    consumer.close()


def out_of_range_reset():
    topic = create("kp-range")
    produce(topic, simple(10))
    got = consume(topic, [0], 10, start=1000)
    h.equal([m.offset for m in got], list(range(10)), "offsets after the reset")
    try:
        consume(topic, [0], 1, start=1000, auto_offset_reset="none")
    except errors.OffsetOutOfRangeError:
        return
    raise AssertionError("no error without a reset")


def fetch_session():
    topic = create("kp-session", h.PARTITIONS)
    consumer = reader(topic, range(h.PARTITIONS))
    for round_ in range(5):
        produce(topic, [(round_ % h.PARTITIONS, None, b"%d" % round_, None, 0)])
        h.equal(values(poll(consumer, 1)), [b"%d" % round_], "what an incremental fetch brings")
    # The client keeps the session that the broker gave it, and only that one.
    handlers = consumer._fetcher._session_handlers
    h.true(any(handler.next_metadata.session_id > 0 and handler.next_metadata.epoch > 1
               for handler in handlers.values()), "a broker keeps a session")
    consumer.close()


class Member:
    """A group member that polls on a thread of its own."""

    def __init__(self, group, topic, **more):
        self.seen, self.assigned, self.revoked, self.error = set(), set(), [], None
        self.consumer = KafkaConsumer(**config(
            group_id=group, auto_offset_reset="earliest", session_timeout_ms=6000, heartbeat_interval_ms=500,
            enable_auto_commit=False, **more))
        self.consumer.subscribe([topic], listener=Listener(self))
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.stopping:
                # A join that ends between two polls is forgotten, and the member joins again (kafka/coordinator/base.py,
                # join_group_async): there are few ends of polls on the way.
                for batch in self.consumer.poll(timeout_ms=1000).values():
                    self.seen |= {(m.partition, m.offset) for m in batch}
                self.assigned = {partition.partition for partition in self.consumer.assignment()}
        except Exception as error:  # noqa: BLE001
            self.error = error
        self.consumer.close()

    def stop(self):
        self.stopping = True
        self.thread.join(h.PATIENCE)
        h.true(not self.thread.is_alive(), "the member leaves")
        h.true(self.error is None, f"a member failed: {self.error!r}")


import kafka  # noqa: E402


class Listener(kafka.ConsumerRebalanceListener):
    def __init__(self, member):
        self.member = member

    def on_partitions_revoked(self, revoked):
        self.member.revoked.append({partition.partition for partition in revoked})

    def on_partitions_assigned(self, assigned):
        pass


def shared(members):
    parts = [set(member.assigned) for member in members]
    return sum(map(len, parts)) == h.PARTITIONS and set().union(*parts) == set(range(h.PARTITIONS)) and all(parts)


def group_rebalance():
    topic = create("kp-group", h.PARTITIONS)
    first = Member("kp-group", topic)
    h.until("the first has all", lambda: shared([first]))
    second = Member("kp-group", topic)
    h.until("both share", lambda: shared([first, second]))
    produce(topic, [m for p in range(h.PARTITIONS) for m in simple(10, partition=p)])
    h.until("all records", lambda: len(first.seen | second.seen) == 10 * h.PARTITIONS)
    first.stop()
    h.until("the second has all", lambda: shared([second]))
    second.stop()


def group_static():
    topic = create("kp-static", h.PARTITIONS)
    a, b = [Member("kp-static", topic, group_instance_id=name) for name in "ab"]
    h.until("both share", lambda: shared([a, b]))
    before, revoked = set(a.assigned), len(b.revoked)
    a.stop()
    again = Member("kp-static", topic, group_instance_id="a")
    h.until("it is back", lambda: again.assigned == before)
    h.equal(len(b.revoked), revoked, "rebalances of the other")
    again.stop()
    b.stop()


def group_cooperative():
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor as Cooperative
    topic = create("kp-cooperative", h.PARTITIONS)
    more = {"partition_assignment_strategy": [Cooperative]}
    first = Member("kp-cooperative", topic, **more)
    h.until("the first has all", lambda: shared([first]))
    second = Member("kp-cooperative", topic, **more)
    h.until("both share", lambda: shared([first, second]))
    h.equal(sum(map(len, first.revoked)), len(second.assigned), "partitions given up")
    first.stop()
    second.stop()


def group_offsets():
    topic = create("kp-committed")
    produce(topic, simple(20))
    more = {"group_id": "kp-committed", "auto_offset_reset": "earliest", "enable_auto_commit": False}
    partition = TopicPartition(topic, 0)
    first = KafkaConsumer(topic, **config(**more))
    poll(first, 20)
    first.commit({partition: OffsetAndMetadata(12, "note", -1)})
    first.close()
    second = KafkaConsumer(topic, **config(**more))
    h.equal(poll(second, 1)[0].offset, 12, "where a new member goes on")
    committed = second.committed(partition, metadata=True)
    h.equal((committed.offset, committed.metadata), (12, "note"), "committed")
    second.close()


def described(admin, kind, name):
    """The configs of a resource, whatever shape this version gives them."""
    found = admin.describe_configs([ka.ConfigResource(kind, name)], config_filter="all")
    return flat(found, name)


def flat(found, name):
    if isinstance(found, dict):
        for key, value in found.items():
            if key == name or getattr(key, "name", None) == name:
                return flat(value, name)
            if isinstance(value, dict) and name in value:
                return flat(value[name], name)
        return {key: value["value"] if isinstance(value, dict) else value for key, value in found.items()}
    raise AssertionError(f"configs of an unknown shape: {h.shorten(found)}")


def describe_configs():
    topic = create("kp-configs", **{"retention.ms": "12345000"})

    def use(admin):
        got = described(admin, ka.ConfigResourceType.TOPIC, topic)
        h.equal((got["retention.ms"], got["cleanup.policy"]), ("12345000", "delete"), "configs")
        broker = str(min(h.BROKERS))
        h.true(described(admin, ka.ConfigResourceType.BROKER, broker), "the broker has configs")
    with_admin(use)


def alter_configs():
    topic = create("kp-alter")

    def use(admin):
        admin.alter_configs([ka.ConfigResource(ka.ConfigResourceType.TOPIC, topic, {"retention.ms": "777000"})])
        h.until("the new value",
                lambda: described(admin, ka.ConfigResourceType.TOPIC, topic)["retention.ms"] == "777000")
    with_admin(use)


def create_partitions():
    topic = create("kp-partitions")

    def use(admin):
        admin.create_partitions({topic: ka.NewPartitions(4)})
        h.until("four partitions", lambda: len(admin.describe_topics([topic])[0]["partitions"]) == 4)
    with_admin(use)
    produce(topic, simple(5, partition=3))
    h.equal(values(consume(topic, [3], 5)), numbered(5), "values")


def delete_records():
    topic = create("kp-delete-records")
    produce(topic, simple(50))
    with_admin(lambda admin: admin.delete_records({TopicPartition(topic, 0): 30}))
    h.equal([m.offset for m in consume(topic, [0], 20)], list(range(30, 50)), "offsets that are left")


def finished_group(group):
    topic = create(group)
    produce(topic, simple(10))
    consumer = KafkaConsumer(topic, **config(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False))
    poll(consumer, 10)
    consumer.commit()
    consumer.close()


def groups(admin):
    return [group[0] if isinstance(group, tuple) else group["group_id"] for group in admin.list_groups()]


def list_groups():
    finished_group("kp-list")
    h.true("kp-list" in with_admin(groups), "the group is listed")


def describe_groups():
    topic = create("kp-describe", h.PARTITIONS)
    member = Member("kp-describe", topic, client_id="somebody")
    h.until("it has all", lambda: shared([member]))

    def use(admin):
        got = admin.describe_groups(["kp-describe"])
        got = got["kp-describe"] if isinstance(got, dict) else got[0]
        h.equal(got.get("group_state", got.get("state")), "Stable", "state")
        h.equal([m["client_id"] for m in got["members"]], ["somebody"], "members")
    with_admin(use)
    member.stop()


def delete_groups():
    finished_group("kp-delete-group")

    def use(admin):
        admin.delete_groups(["kp-delete-group"])
        h.true("kp-delete-group" not in groups(admin), "the group is gone")
    with_admin(use)


def alter_group_offsets():
    finished_group("kp-alter-group")
    partition = TopicPartition("kp-alter-group", 0)

    def use(admin):
        admin.alter_group_offsets("kp-alter-group", {partition: OffsetAndMetadata(4, "", -1)})
        found = admin.list_group_offsets({"kp-alter-group": None})
        found = found.get("kp-alter-group", found)
        h.equal(found[partition].offset, 4, "offset")
    with_admin(use)


def acls():
    acl = ka.ACL(principal="User:somebody", host="*", operation=ka.ACLOperation.READ,
                 permission_type=ka.ACLPermissionType.ALLOW,
                 resource_pattern=ka.ResourcePattern(ka.ResourceType.TOPIC, "kp-acl"))
    any_of = ka.ACLFilter(principal=None, host=None, operation=ka.ACLOperation.ANY,
                          permission_type=ka.ACLPermissionType.ANY,
                          resource_pattern=ka.ResourcePatternFilter(
                              ka.ResourceType.TOPIC, "kp-acl", ka.ACLResourcePatternType.LITERAL))

    def use(admin):
        admin.create_acls([acl])

        def found():
            result = admin.describe_acls(any_of)
            return result[0] if isinstance(result, tuple) else result
        h.until("the ACL", lambda: found() == [acl])
        admin.delete_acls([any_of])
        h.until("no ACL", lambda: not found())
    with_admin(use)


def scram_users():
    def use(admin):
        admin.alter_user_scram_credentials([ka.UserScramCredentialUpsertion(
            "kp-user", ka.ScramMechanism.SCRAM_SHA_256, b"secret", iterations=4096)])

        def mechanisms():
            user = admin.describe_user_scram_credentials(["kp-user"])["kp-user"]
            return [info["mechanism"].name for info in user["credential_infos"]]
        h.until("the user", lambda: mechanisms() == ["SCRAM_SHA_256"])
        admin.alter_user_scram_credentials([ka.UserScramCredentialDeletion(
            "kp-user", ka.ScramMechanism.SCRAM_SHA_256)])
        h.until("no user", lambda: mechanisms() == [])
    with_admin(use)


def delete_topic():
    topic = create("kp-delete")

    def use(admin):
        admin.delete_topics([topic])
        h.until("it is gone", lambda: topic not in admin.list_topics())
    with_admin(use)


def large_record():
    topic = create("kp-large")
    value = os.urandom(900 * 1024)
    produce(topic, [(0, b"large", value, None, 0)])
    h.true(consume(topic, [0], 1)[0].value == value, "the value is as it was sent")


def tombstones():
    topic = create("kp-tombstones")
    sent = [(b"a", None), (b"b", b""), (None, b"c"), (b"", b"d")]
    produce(topic, [(0, key, value, None, 0) for key, value in sent])
    h.equal([(m.key, m.value) for m in consume(topic, [0], len(sent))], sent, "keys and values")


def unknown_topic():
    sender = producer(max_block_ms=3000, allow_auto_create_topics=False)
    try:
        sender.send("kp-nowhere", b"x").get(10)
    except (errors.KafkaTimeoutError, errors.UnknownTopicOrPartitionError):
        pass
    else:
        raise AssertionError("records of an unknown topic are taken")
    finally:
        sender.close(5)
    h.true("kp-nowhere" not in with_admin(lambda admin: admin.list_topics()), "nothing is created")


def describe_cluster():
    def use(admin):
        h.equal(len(admin.describe_cluster()["brokers"]), len(h.BROKERS), "brokers")
    with_admin(use)


def round_trip(topic):
    create(topic)
    produce(topic, simple(10))
    h.equal(values(consume(topic, [0], 10)), numbered(10), "values")


def secured(mechanism, password):
    SECURITY.clear()
    SECURITY.update(security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism, sasl_plain_username=h.user(mechanism),
                    sasl_plain_password=password)


def sasl(mechanism):
    def check():
        secured(mechanism, h.PASSWORD)
        round_trip("kp-" + mechanism.lower())
    check.__name__ = "sasl_" + mechanism.lower().replace("-", "_")
    return check


class Told(logging.Handler):
    """What the client logs."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def sasl_wrong_password():
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        secured(mechanism, "wrong")
        told = Told()
        logging.getLogger("kafka").addHandler(told)
        try:
            KafkaAdminClient(**config(bootstrap_timeout_ms=5000)).close()
            raise AssertionError(f"{mechanism}: a wrong password is let in")
        except errors.SaslAuthenticationFailedError:
            pass
        except errors.KafkaTimeoutError:
            # Its bootstrap logs why a broker does not let it in and goes on to the next one until its time is over.
            h.true(any("SaslAuthenticationFailedError" in line for line in told.lines),
                   f"{mechanism}: the client is not told why: {told.lines[:2]}")
        finally:
            logging.getLogger("kafka").removeHandler(told)


def tls():
    SECURITY.clear()
    SECURITY.update(security_protocol="SSL", ssl_cafile=h.CA)
    round_trip("kp-tls")


def restart_write():
    topic = create("kp-restart")
    produce(topic, simple(20))
    consumer = KafkaConsumer(**config(group_id="kp-restart", enable_auto_commit=False))
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.commit({partition: OffsetAndMetadata(12, "", -1)})
    consumer.close()


def restart_read():
    consumer = KafkaConsumer("kp-restart", **config(group_id="kp-restart", enable_auto_commit=False,
                                                    auto_offset_reset="earliest"))
    h.equal([m.offset for m in poll(consumer, 8)], list(range(12, 20)), "where the group goes on")
    consumer.close()
    h.equal(values(consume("kp-restart", [0], 20)), numbered(20), "values")


h.run({
    "plain": [
        metadata, create_topic, produce_fetch, *[codec(kind) for kind in ("none", "gzip", "snappy", "lz4", "zstd")],
        idempotent_producer, transaction_commit, transaction_abort, transaction_offsets, list_offsets,
        out_of_range_reset, fetch_session, group_rebalance, group_static, group_cooperative, group_offsets,
        describe_configs, alter_configs, create_partitions, delete_records, list_groups, describe_groups,
        delete_groups, alter_group_offsets, acls, scram_users, delete_topic, large_record, tombstones, unknown_topic,
        describe_cluster, ("kip-848", "the client does not speak KIP-848"),
    ],
    "sasl": [sasl("PLAIN"), sasl("SCRAM-SHA-256"), sasl("SCRAM-SHA-512"), sasl_wrong_password],
    "tls": [tls],
    "restart-write": [restart_write],
    "restart-read": [restart_read],
})
