"""confluent-kafka (librdkafka): the checks."""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "driver"))
import harness as h  # noqa: E402
from confluent_kafka import (  # noqa: E402
    OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, ConsumerGroupState, IsolationLevel, KafkaError,
    KafkaException, Producer, TopicCollection, TopicPartition,
)
from confluent_kafka.admin import (  # noqa: E402
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType, ConfigEntry,
    ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourcePatternType, ResourceType, ScramCredentialInfo,
    ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion,
)

SECURITY = {}


def config(**more):
    base = {"bootstrap.servers": h.BOOTSTRAP, "socket.timeout.ms": 10000, **SECURITY}
    base.update({key.replace("_", "."): value for key, value in more.items()})
    return base


ADMINS = {}


def admin():
    """A client that lives on: librdkafka gives up what a client has asked for when the client is collected."""
    key = tuple(sorted(SECURITY.items()))
    if key not in ADMINS:
        ADMINS[key] = AdminClient(config())
    return ADMINS[key]


def done(futures):
    """The results of a call for several things."""
    return {key: future.result(h.PATIENCE) for key, future in futures.items()}


def create(topic, partitions=1, **configs):
    new = NewTopic(topic, num_partitions=partitions, replication_factor=h.REPLICAS, config=configs)
    done(admin().create_topics([new], operation_timeout=10))

    def known():
        found = admin().list_topics(topic, timeout=10).topics[topic]
        return found.error is None and len(found.partitions) == partitions and all(
            partition.leader >= 0 for partition in found.partitions.values())
    h.until(f"topic {topic} is known", known)
    return topic


def produce(topic, messages, **more):
    """Sends (partition, key, value, headers, timestamp) and returns the offsets."""
    offsets, errors = {}, []
    producer = Producer(config(**{"acks": "all", "linger.ms": 5, **more}))

    def delivered(index):
        def report(error, message):
            if error:
                errors.append(error)
            else:
                offsets[index] = message.offset()
        return report
    for index, (partition, key, value, headers, timestamp) in enumerate(messages):
        producer.produce(topic, value=value, key=key, partition=partition, headers=headers,
                         timestamp=timestamp or h.BASE_MS, on_delivery=delivered(index))
        producer.poll(0)
    left = producer.flush(h.PATIENCE)
    h.true(not errors, f"delivery failed: {errors[:1]}")
    h.equal(left, 0, "records left unsent")
    return [offsets[index] for index in range(len(messages))]


def simple(count, start=0, partition=0):
    return [(partition, b"k%d" % i, b"v%d" % i, None, h.BASE_MS + i) for i in range(start, start + count)]


def consume(topic, partitions, count, start=OFFSET_BEGINNING, **more):
    """The first count messages of partitions."""
    consumer = Consumer(config(**{"group.id": "reader", "enable.auto.commit": False, **more}))
    try:
        consumer.assign([TopicPartition(topic, partition, start) for partition in partitions])
        return poll(consumer, count)
    finally:
        consumer.close()


def poll(consumer, count, patience=h.PATIENCE):
    messages, end = [], time.monotonic() + patience
    while len(messages) < count:
        h.true(time.monotonic() < end, f"{len(messages)} of {count} messages within {patience} s")
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        messages.append(message)
    return messages


def silent(consumer, seconds=1.5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = consumer.poll(0.1)
        h.true(message is None or message.error(), f"an unexpected message {message and message.value()}")


def metadata():
    cluster = admin().list_topics(timeout=10)
    got = {broker.id: f"{broker.host}:{broker.port}" for broker in cluster.brokers.values()}
    h.equal(got, h.BROKERS, "brokers")
    h.true(cluster.controller_id in got, f"controller {cluster.controller_id} is a broker")


def create_topic():
    topic = create("ck-create", h.PARTITIONS)
    found = admin().list_topics(topic, timeout=10).topics[topic]
    h.equal(sorted(found.partitions), list(range(h.PARTITIONS)), "partitions")
    for partition in found.partitions.values():
        h.equal(len(set(partition.replicas)), h.REPLICAS, "replicas")
        h.true(partition.leader in partition.replicas, "the leader is a replica")
    again = admin().create_topics([NewTopic(topic, 1, h.REPLICAS)])[topic]
    try:
        again.result(h.PATIENCE)
    except KafkaException as error:
        h.equal(error.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS, "creating it again")
    else:
        raise AssertionError("a topic can be created twice")


def produce_fetch():
    topic = create("ck-records", h.PARTITIONS)
    wanted = [h.record(i) for i in range(h.RECORDS)]
    produce(topic, [(i % h.PARTITIONS, *wanted[i]) for i in range(h.RECORDS)])
    by_partition = {}
    for message in consume(topic, range(h.PARTITIONS), h.RECORDS):
        kind, timestamp = message.timestamp()
        by_partition.setdefault(message.partition(), []).append(
            (message.key(), message.value(), message.headers(), timestamp))
    for partition in range(h.PARTITIONS):
        h.equal(by_partition[partition], wanted[partition::h.PARTITIONS], f"records of partition {partition}")


def codec(kind):
    def check():
        topic = create(f"ck-codec-{kind}")
        values = [b"%d-" % i + b"compressible " * 50 for i in range(100)]
        produce(topic, [(0, None, value, None, 0) for value in values], **{"compression.type": kind, "linger.ms": 50})
        h.equal([message.value() for message in consume(topic, [0], 100)], values, "values")
    check.__name__ = f"codec_{kind}"
    return check


def idempotent_producer():
    topic = create("ck-idempotent")
    offsets = produce(topic, simple(500), **{"enable.idempotence": True})
    h.equal(offsets, list(range(500)), "offsets")
    h.equal([m.value() for m in consume(topic, [0], 500)], [b"v%d" % i for i in range(500)], "values")


def transactional(identity):
    producer = Producer(config(**{"transactional.id": identity}))
    producer.init_transactions(h.PATIENCE)
    return producer


def send_in_transaction(producer, topic, values):
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value=value, partition=0)
    producer.flush(h.PATIENCE)


def transaction_commit():
    topic = create("ck-commit")
    producer = transactional("ck-commit")
    for start in (0, 10):
        send_in_transaction(producer, topic, [b"c%d" % i for i in range(start, start + 10)])
        producer.commit_transaction(h.PATIENCE)
    got = consume(topic, [0], 20, **{"isolation.level": "read_committed"})
    h.equal([m.value() for m in got], [b"c%d" % i for i in range(20)], "committed values")


def transaction_abort():
    topic = create("ck-abort")
    producer = transactional("ck-abort")
    send_in_transaction(producer, topic, [b"aborted"] * 5)
    reader = Consumer(config(**{"group.id": "ck-abort", "isolation.level": "read_committed"}))
    try:
        reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        # An open transaction hides its records.
        silent(reader)
        producer.abort_transaction(h.PATIENCE)
        send_in_transaction(producer, topic, [b"kept"])
        producer.commit_transaction(h.PATIENCE)
        h.equal([m.value() for m in poll(reader, 1)], [b"kept"], "read_committed")
    finally:
        reader.close()
    got = consume(topic, [0], 6, **{"isolation.level": "read_uncommitted"})
    h.equal([m.value() for m in got], [b"aborted"] * 5 + [b"kept"], "read_uncommitted")


def transaction_offsets():
    source, sink = create("ck-txn-source"), create("ck-txn-sink")
    produce(source, simple(10))
    consumer = Consumer(config(**{"group.id": "ck-txn", "auto.offset.reset": "earliest", "enable.auto.commit": False}))
    producer = transactional("ck-txn-offsets")
    try:
        consumer.subscribe([source])
        poll(consumer, 10)
        for outcome in ("abort", "commit"):
            send_in_transaction(producer, sink, [outcome.encode()])
            position = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), h.PATIENCE)
            if outcome == "abort":
                producer.abort_transaction(h.PATIENCE)
                committed = consumer.committed([TopicPartition(source, 0)], 10)[0].offset
                h.true(committed < 0, f"an aborted transaction committed offset {committed}")
            else:
                producer.commit_transaction(h.PATIENCE)
        h.until("the offset of the transaction",
                lambda: consumer.committed([TopicPartition(source, 0)], 10)[0].offset == 10)
    finally:
        consumer.close()
    got = consume(sink, [0], 1, **{"isolation.level": "read_committed"})
    h.equal([m.value() for m in got], [b"commit"], "the sink")


def list_offsets():
    topic = create("ck-offsets")
    produce(topic, simple(100))
    partition = TopicPartition(topic, 0)

    def at(spec):
        return done(admin().list_offsets({partition: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED))[
            partition].offset
    h.equal(at(OffsetSpec.earliest()), 0, "earliest")
    h.equal(at(OffsetSpec.latest()), 100, "latest")
    h.equal(at(OffsetSpec.for_timestamp(h.BASE_MS + 42)), 42, "by time")
    h.equal(at(OffsetSpec.for_timestamp(h.BASE_MS + 100_000_000)), -1, "after the last")
    consumer = Consumer(config(**{"group.id": "ck-offsets"}))
    h.equal(consumer.get_watermark_offsets(partition, timeout=10), (0, 100), "watermarks")
    consumer.close()
    h.equal(h.until("offsets_for_times", lambda: by_time(topic, h.BASE_MS + 7)), 7, "offsets_for_times")


def by_time(topic, timestamp):
    """One look-up by a new consumer; nothing if there was an election since it asked who leads.

    librdkafka leaves it to its caller to try again then (KIP-320: FENCED_LEADER_EPOCH is retriable).
    """
    consumer = Consumer(config(**{"group.id": "ck-offsets"}))
    try:
        return consumer.offsets_for_times([TopicPartition(topic, 0, timestamp)], timeout=10)[0].offset
    except KafkaException as error:
        if error.args[0].code() != KafkaError.FENCED_LEADER_EPOCH:
            raise
        return None
    finally:
        consumer.close()


def out_of_range_reset():
    topic = create("ck-range")
    produce(topic, simple(10))
    got = consume(topic, [0], 10, start=1000, **{"auto.offset.reset": "earliest"})
    h.equal([m.offset() for m in got], list(range(10)), "offsets after the reset")
    consumer = Consumer(config(**{"group.id": "ck-range", "auto.offset.reset": "error"}))
    consumer.assign([TopicPartition(topic, 0, 1000)])

    def failed():
        message = consumer.poll(0.2)
        return message is not None and message.error()
    error = h.until("an error", failed)
    consumer.close()
    h.equal(error.code(), KafkaError._AUTO_OFFSET_RESET, "the error")


class Member:
    """A group member that polls on a thread of its own."""

    def __init__(self, group, topic, **more):
        self.seen, self.assigned, self.revoked, self.error = [], set(), [], None
        self.consumer = Consumer(config(**{
            "group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500, "enable.auto.commit": False, **more}))
        self.consumer.subscribe([topic], on_assign=self._assign, on_revoke=self._revoke)
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _assign(self, consumer, partitions):
        self.assigned |= {partition.partition for partition in partitions}

    def _revoke(self, consumer, partitions):
        self.revoked.append({partition.partition for partition in partitions})
        self.assigned -= {partition.partition for partition in partitions}

    def _run(self):
        while not self.stopping:
            message = self.consumer.poll(0.1)
            if message is None:
                continue
            if message.error():
                self.error = message.error()
            else:
                self.seen.append((message.partition(), message.offset()))
        self.consumer.close()

    def stop(self):
        self.stopping = True
        self.thread.join(h.PATIENCE)
        h.true(not self.thread.is_alive(), "the member leaves")


def shared(members, count=h.PARTITIONS):
    """Whether the members have all partitions, each one of them."""
    parts = [set(member.assigned) for member in members]
    return sum(map(len, parts)) == count and set().union(*parts) == set(range(count)) and all(parts)


def group_rebalance():
    topic = create("ck-group", h.PARTITIONS)
    first = Member("ck-group", topic)
    h.until("the first has all", lambda: len(first.assigned) == h.PARTITIONS)
    second = Member("ck-group", topic)
    h.until("both share", lambda: shared([first, second]))
    produce(topic, [m for p in range(h.PARTITIONS) for m in simple(10, partition=p)])
    h.until("all records", lambda: len(set(first.seen + second.seen)) == 10 * h.PARTITIONS)
    first.stop()
    h.until("the second has all", lambda: len(second.assigned) == h.PARTITIONS)
    second.stop()
    wanted = sorted((p, o) for p in range(h.PARTITIONS) for o in range(10))
    h.equal(sorted(set(first.seen + second.seen)), wanted, "records")


def group_static():
    topic = create("ck-static", h.PARTITIONS)
    static = lambda name: Member("ck-static", topic, **{"group.instance.id": name})  # noqa: E731
    a, b = static("a"), static("b")
    h.until("both share", lambda: shared([a, b]))
    before, revoked = set(a.assigned), len(b.revoked)
    a.stop()
    # A static member that is back within its session gets its partitions, and nobody rebalances.
    again = static("a")
    h.until("it is back", lambda: set(again.assigned) == before)
    h.equal(len(b.revoked), revoked, "rebalances of the other")
    described = done(admin().describe_consumer_groups(["ck-static"]))["ck-static"]
    h.equal(sorted(m.group_instance_id for m in described.members), ["a", "b"], "instance ids")
    again.stop()
    b.stop()


def group_cooperative():
    topic = create("ck-cooperative", h.PARTITIONS)
    cooperative = {"partition.assignment.strategy": "cooperative-sticky"}
    first = Member("ck-cooperative", topic, **cooperative)
    h.until("the first has all", lambda: len(first.assigned) == h.PARTITIONS)
    second = Member("ck-cooperative", topic, **cooperative)
    h.until("both share", lambda: shared([first, second]))
    # The first gave up only what the second got.
    h.equal(sum(map(len, first.revoked)), len(second.assigned), "partitions given up")
    first.stop()
    second.stop()


def group_offsets():
    topic = create("ck-committed")
    produce(topic, simple(20))
    first = Consumer(config(**{"group.id": "ck-committed", "auto.offset.reset": "earliest",
                               "enable.auto.commit": False}))
    first.subscribe([topic])
    messages = poll(first, 20)
    first.commit(offsets=[TopicPartition(topic, 0, 12, metadata="note")], asynchronous=False)
    first.close()
    second = Consumer(config(**{"group.id": "ck-committed", "auto.offset.reset": "earliest",
                                "enable.auto.commit": False}))
    second.subscribe([topic])
    h.equal(poll(second, 1)[0].offset(), 12, "where a new member goes on")
    committed = second.committed([TopicPartition(topic, 0)], 10)[0]
    h.equal((committed.offset, committed.metadata), (12, "note"), "committed")
    second.close()
    h.equal(len(messages), 20, "messages")


def described(resource):
    return done(admin().describe_configs([resource]))[resource]


def describe_configs():
    topic = create("ck-configs", **{"retention.ms": "12345000"})
    got = described(ConfigResource(ConfigResource.Type.TOPIC, topic))
    h.equal(got["retention.ms"].value, "12345000", "retention.ms")
    h.equal(got["cleanup.policy"].value, "delete", "cleanup.policy")
    broker = described(ConfigResource(ConfigResource.Type.BROKER, str(min(h.BROKERS))))
    h.true(len(broker) > 0, "the broker has configs")


def alter_configs():
    topic = create("ck-alter")
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    resource.add_incremental_config(ConfigEntry(
        "retention.ms", "777000", incremental_operation=AlterConfigOpType.SET))
    done(admin().incremental_alter_configs([resource]))
    asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
    h.until("the new value", lambda: described(asked)["retention.ms"].value == "777000")
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    resource.add_incremental_config(ConfigEntry(
        "retention.ms", None, incremental_operation=AlterConfigOpType.DELETE))
    done(admin().incremental_alter_configs([resource]))
    h.until("the default again", lambda: described(asked)["retention.ms"].value != "777000")


def create_partitions():
    topic = create("ck-partitions")
    done(admin().create_partitions([NewPartitions(topic, 4)]))
    h.until("four partitions", lambda: len(admin().list_topics(topic, timeout=10).topics[topic].partitions) == 4)
    produce(topic, simple(5, partition=3))
    h.equal([m.value() for m in consume(topic, [3], 5)], [b"v%d" % i for i in range(5)], "values")


def delete_records():
    topic = create("ck-delete-records")
    produce(topic, simple(50))
    partition = TopicPartition(topic, 0, 30)
    result = done(admin().delete_records([partition]))
    h.equal([deleted.low_watermark for deleted in result.values()], [30], "low watermark")
    got = consume(topic, [0], 20)
    h.equal([m.offset() for m in got], list(range(30, 50)), "offsets that are left")


def finished_group(group, topic):
    create(topic)
    produce(topic, simple(10))
    consumer = Consumer(config(**{"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}))
    consumer.subscribe([topic])
    poll(consumer, 10)
    consumer.commit(asynchronous=False)
    consumer.close()


def list_groups():
    finished_group("ck-list", "ck-list")
    groups = admin().list_consumer_groups(request_timeout=10).result(h.PATIENCE)
    h.true(not groups.errors, f"errors {groups.errors}")
    h.true("ck-list" in [group.group_id for group in groups.valid], "the group is listed")


def describe_groups():
    topic = create("ck-describe-group", h.PARTITIONS)
    member = Member("ck-describe-group", topic, **{"client.id": "somebody"})
    h.until("it has all", lambda: len(member.assigned) == h.PARTITIONS)
    got = done(admin().describe_consumer_groups(["ck-describe-group"]))["ck-describe-group"]
    h.equal(got.state, ConsumerGroupState.STABLE, "state")
    h.equal([m.client_id for m in got.members], ["somebody"], "members")
    h.equal(sorted(p.partition for p in got.members[0].assignment.topic_partitions), list(range(h.PARTITIONS)),
            "assignment")
    member.stop()


def delete_groups():
    finished_group("ck-delete-group", "ck-delete-group")
    done(admin().delete_consumer_groups(["ck-delete-group"]))
    groups = admin().list_consumer_groups(request_timeout=10).result(h.PATIENCE)
    h.true("ck-delete-group" not in [group.group_id for group in groups.valid], "the group is gone")


def alter_group_offsets():
    finished_group("ck-alter-group", "ck-alter-group")
    wanted = [ConsumerGroupTopicPartitions("ck-alter-group", [TopicPartition("ck-alter-group", 0, 4)])]

    def altered():
        answer = done(admin().alter_consumer_group_offsets(wanted))["ck-alter-group"]
        # Whether it is refused, because the member that left is still known, is told by partition.
        return all(partition.error is None for partition in answer.topic_partitions)
    h.until("the offsets are altered", altered)
    got = done(admin().list_consumer_group_offsets([ConsumerGroupTopicPartitions("ck-alter-group")]))
    offsets = {p.topic: p.offset for p in got["ck-alter-group"].topic_partitions}
    h.equal(offsets, {"ck-alter-group": 4}, "offsets")


def acls():
    binding = AclBinding(ResourceType.TOPIC, "ck-acl", ResourcePatternType.LITERAL, "User:somebody", "*",
                         AclOperation.READ, AclPermissionType.ALLOW)
    any_of = AclBindingFilter(ResourceType.TOPIC, "ck-acl", ResourcePatternType.LITERAL, None, None,
                              AclOperation.ANY, AclPermissionType.ANY)
    done(admin().create_acls([binding]))
    h.until("the ACL", lambda: admin().describe_acls(any_of).result(h.PATIENCE) == [binding])
    deleted = done(admin().delete_acls([any_of]))
    h.equal(list(deleted.values()), [[binding]], "deleted")
    h.until("no ACL", lambda: admin().describe_acls(any_of).result(h.PATIENCE) == [])


def scram_users():
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    done(admin().alter_user_scram_credentials([UserScramCredentialUpsertion("ck-user", info, b"secret")]))

    def known():
        try:
            return done(admin().describe_user_scram_credentials(["ck-user"]))["ck-user"].scram_credential_infos
        except KafkaException:
            return None
    infos = h.until("the user", known)
    h.equal([i.mechanism for i in infos], [ScramMechanism.SCRAM_SHA_256], "mechanisms")
    done(admin().alter_user_scram_credentials([
        UserScramCredentialDeletion("ck-user", ScramMechanism.SCRAM_SHA_256)]))
    h.until("no user", lambda: known() is None)


def delete_topic():
    topic = create("ck-delete")
    done(admin().delete_topics([topic], operation_timeout=10))
    h.until("it is gone", lambda: topic not in admin().list_topics(timeout=10).topics)


def large_record():
    topic = create("ck-large")
    value = os.urandom(900 * 1024)
    produce(topic, [(0, b"large", value, None, 0)])
    h.true(consume(topic, [0], 1)[0].value() == value, "the value is as it was sent")


def tombstones():
    topic = create("ck-tombstones")
    sent = [(b"a", None), (b"b", b""), (None, b"c"), (b"", b"d"), (None, None)]
    produce(topic, [(0, key, value, None, 0) for key, value in sent])
    h.equal([(m.key(), m.value()) for m in consume(topic, [0], 5)], sent, "keys and values")


def unknown_topic():
    found = admin().describe_topics(TopicCollection(["ck-nowhere"]))
    try:
        done(found)
    except KafkaException as error:
        h.equal(error.args[0].code(), KafkaError.UNKNOWN_TOPIC_OR_PART, "describing it")
    else:
        raise AssertionError("an unknown topic is described")
    errors = []
    producer = Producer(config(**{"message.timeout.ms": 3000, "topic.metadata.propagation.max.ms": 500,
                                  "allow.auto.create.topics": False}))
    producer.produce("ck-nowhere", b"x", on_delivery=lambda error, _: errors.append(error))
    producer.flush(10)
    h.true(errors and errors[0] is not None, "producing to it fails")
    h.true(errors[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC), f"error {errors[0]}")


def describe_cluster():
    got = admin().describe_cluster().result(h.PATIENCE)
    h.equal({node.id: f"{node.host}:{node.port}" for node in got.nodes}, h.BROKERS, "nodes")
    h.true(got.cluster_id, "a cluster id")


def round_trip(topic):
    create(topic)
    produce(topic, simple(10))
    h.equal([m.value() for m in consume(topic, [0], 10)], [b"v%d" % i for i in range(10)], "values")


def sasl(mechanism):
    def check():
        SECURITY.clear()
        SECURITY.update({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism,
                         "sasl.username": h.user(mechanism), "sasl.password": h.PASSWORD})
        round_trip("ck-" + mechanism.lower())
    check.__name__ = "sasl_" + mechanism.lower().replace("-", "_")
    return check


def sasl_wrong_password():
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        errors = []
        client = Consumer({"bootstrap.servers": h.BOOTSTRAP, "security.protocol": "SASL_PLAINTEXT",
                           "sasl.mechanism": mechanism, "sasl.username": h.user(mechanism), "sasl.password": "wrong",
                           "group.id": "x", "error_cb": errors.append})
        h.until(f"{mechanism} is refused",
                lambda: client.poll(0.1) or any(e.code() == KafkaError._AUTHENTICATION for e in errors), 10)
        client.close()


def tls():
    SECURITY.clear()
    SECURITY.update({"security.protocol": "SSL", "ssl.ca.location": h.CA})
    round_trip("ck-tls")


def restart_write():
    topic = create("ck-restart")
    produce(topic, simple(20))
    consumer = Consumer(config(**{"group.id": "ck-restart", "enable.auto.commit": False}))
    consumer.commit(offsets=[TopicPartition(topic, 0, 12)], asynchronous=False)
    consumer.close()


def restart_read():
    consumer = Consumer(config(**{"group.id": "ck-restart", "enable.auto.commit": False}))
    consumer.subscribe(["ck-restart"])
    h.equal([m.offset() for m in poll(consumer, 8)], list(range(12, 20)), "where the group goes on")
    consumer.close()
    h.equal([m.value() for m in consume("ck-restart", [0], 20)], [b"v%d" % i for i in range(20)], "values")


def kip_848():
    topic = create("ck-848", h.PARTITIONS)
    member = Consumer(config(**{"group.id": "ck-848", "group.protocol": "consumer", "auto.offset.reset": "earliest"}))
    member.subscribe([topic])
    produce(topic, simple(10))
    h.equal(len(poll(member, 10, 10)), 10, "messages")
    member.close()


h.run({
    "plain": [
        metadata, create_topic, produce_fetch, *[codec(kind) for kind in ("none", "gzip", "snappy", "lz4", "zstd")],
        idempotent_producer, transaction_commit, transaction_abort, transaction_offsets, list_offsets,
        out_of_range_reset, ("fetch-session", "librdkafka does not use fetch sessions"), group_rebalance, group_static,
        group_cooperative, group_offsets, describe_configs, alter_configs, create_partitions, delete_records,
        list_groups, describe_groups, delete_groups, alter_group_offsets, acls, scram_users, delete_topic,
        large_record, tombstones, unknown_topic, describe_cluster, kip_848,
    ],
    "sasl": [sasl("PLAIN"), sasl("SCRAM-SHA-256"), sasl("SCRAM-SHA-512"), sasl_wrong_password],
    "tls": [tls],
    "restart-write": [restart_write],
    "restart-read": [restart_read],
})
