"""aiokafka: the checks."""

import asyncio
import logging
import os
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "driver"))
import harness as h  # noqa: E402
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition  # noqa: E402
from aiokafka import errors  # noqa: E402
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete  # noqa: E402
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # noqa: E402
from aiokafka.structs import OffsetAndMetadata  # noqa: E402

logging.basicConfig(level=logging.CRITICAL)
SECURITY = {}


def config(**more):
    return {"bootstrap_servers": h.BOOTSTRAP, "request_timeout_ms": 15000, **SECURITY, **more}


class Running:
    """Starts a client, and stops it at the end."""

    def __init__(self, client):
        self.client = client

    async def __aenter__(self):
        try:
            await self.client.start()
        except BaseException:
            await (self.client.close() if hasattr(self.client, "close") else self.client.stop())
            raise
        return self.client

    async def __aexit__(self, *_):
        await (self.client.close() if hasattr(self.client, "close") else self.client.stop())


def admin():
    return Running(AIOKafkaAdminClient(**config()))


def producer(**more):
    return Running(AIOKafkaProducer(**config(**{"acks": "all", **more})))


def consumer(*topics, **more):
    more = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "metadata_max_age_ms": 1000, **more}
    return Running(AIOKafkaConsumer(*topics, **config(**more)))


async def until(what, look, patience=h.PATIENCE):
    end = time.monotonic() + patience
    last = None
    while time.monotonic() < end:
        last = look()
        last = await last if asyncio.iscoroutine(last) else last
        if last:
            return last
        await asyncio.sleep(0.1)
    raise AssertionError(f"{what}: not within {patience:.0f} s (last: {last!r})")


def accepted(response):
    """The errors of a response to a request for several things."""
    for entry in getattr(response, "topic_errors", None) or getattr(response, "topic_error_codes", []):
        error = errors.for_code(entry[1])
        if error is not errors.NoError:
            raise error(str(entry))


async def described(client, topic):
    found = (await client.describe_topics([topic]))[0]
    return found


async def create(topic, partitions=1, **configs):
    async with admin() as client:
        accepted(await client.create_topics([NewTopic(topic, partitions, h.REPLICAS, topic_configs=configs)]))

        async def known():
            found = await described(client, topic)
            parts = found["partitions"]
            return found["error_code"] == 0 and len(parts) == partitions and all(p["leader"] >= 0 for p in parts)
        await until(f"topic {topic} is known", known)
    return topic


async def produce(topic, messages, **more):
    async with producer(**more) as sender:
        futures = []
        for partition, key, value, headers, timestamp in messages:
            futures.append(await sender.send(topic, value=value, key=key, partition=partition, headers=headers or [],
                                             timestamp_ms=timestamp or h.BASE_MS))
        await sender.flush()
        return [(await future).offset for future in futures]


def simple(count, start=0, partition=0):
    return [(partition, b"k%d" % i, b"v%d" % i, None, h.BASE_MS + i) for i in range(start, start + count)]


async def consume(topic, partitions, count, start=None, **more):
    async with consumer(**more) as reader:
        assigned = [TopicPartition(topic, partition) for partition in partitions]
        reader.assign(assigned)
        if start is None:
            await reader.seek_to_beginning(*assigned)
        else:
            for partition in assigned:
                reader.seek(partition, start)
        return await poll(reader, count)


async def poll(reader, count, patience=h.PATIENCE):
    messages, end = [], time.monotonic() + patience
    while len(messages) < count:
        h.true(time.monotonic() < end, f"{len(messages)} of {count} messages within {patience} s")
        for batch in (await reader.getmany(timeout_ms=200)).values():
            messages += batch
    return messages


def values(messages):
    return [message.value for message in messages]


def numbered(count, start=0):
    return [b"v%d" % i for i in range(start, start + count)]


async def metadata():
    async with admin() as client:
        cluster = await client.describe_cluster()
        got = {b["node_id"]: f"{b['host']}:{b['port']}" for b in cluster["brokers"]}
        h.equal(got, h.BROKERS, "brokers")
        h.true(cluster["controller_id"] in got, "the controller is a broker")


async def create_topic():
    await create("aio-create", h.PARTITIONS)
    async with admin() as client:
        for part in (await described(client, "aio-create"))["partitions"]:
            h.equal(len(set(part["replicas"])), h.REPLICAS, "replicas")
            h.true(part["leader"] in part["replicas"], "the leader is a replica")
        try:
            accepted(await client.create_topics([NewTopic("aio-create", 1, h.REPLICAS)]))
        except errors.TopicAlreadyExistsError:
            return
        raise AssertionError("a topic can be created twice")


async def produce_fetch():
    topic = await create("aio-records", h.PARTITIONS)
    wanted = [h.record(i) for i in range(h.RECORDS)]
    await produce(topic, [(i % h.PARTITIONS, *wanted[i]) for i in range(h.RECORDS)])
    by_partition = {}
    for m in await consume(topic, range(h.PARTITIONS), h.RECORDS):
        by_partition.setdefault(m.partition, []).append((m.key, m.value, list(m.headers), m.timestamp))
    for partition in range(h.PARTITIONS):
        h.equal(by_partition[partition], wanted[partition::h.PARTITIONS], f"records of partition {partition}")


def codec(kind):
    async def check():
        topic = await create(f"aio-codec-{kind}")
        sent = [b"%d-" % i + b"compressible " * 50 for i in range(100)]
        await produce(topic, [(0, None, value, None, 0) for value in sent], linger_ms=50,
                      compression_type=None if kind == "none" else kind)
        h.equal(values(await consume(topic, [0], 100)), sent, "values")
    check.__name__ = f"codec_{kind}"
    return check


async def idempotent_producer():
    topic = await create("aio-idempotent")
    h.equal(await produce(topic, simple(500), enable_idempotence=True), list(range(500)), "offsets")
    h.equal(values(await consume(topic, [0], 500)), numbered(500), "values")


async def send_in_transaction(sender, topic, sent):
    await sender.begin_transaction()
    for value in sent:
        await sender.send_and_wait(topic, value, partition=0)


async def transaction_commit():
    topic = await create("aio-commit")
    async with producer(transactional_id="aio-commit") as sender:
        for start in (0, 10):
            await send_in_transaction(sender, topic, numbered(10, start))
            await sender.commit_transaction()
    got = await consume(topic, [0], 20, isolation_level="read_committed")
    h.equal(values(got), numbered(20), "committed values")


async def transaction_abort():
    topic = await create("aio-abort")
    async with producer(transactional_id="aio-abort") as sender:
        await send_in_transaction(sender, topic, [b"aborted"] * 5)
        async with consumer(isolation_level="read_committed") as reader:
            partition = TopicPartition(topic, 0)
            reader.assign([partition])
            await reader.seek_to_beginning(partition)
            h.equal(await reader.getmany(timeout_ms=1500), {}, "read_committed of an open transaction")
            await sender.abort_transaction()
            await send_in_transaction(sender, topic, [b"kept"])
            await sender.commit_transaction()
            h.equal(values(await poll(reader, 1)), [b"kept"], "read_committed")
    got = await consume(topic, [0], 6)
    h.equal(values(got), [b"aborted"] * 5 + [b"kept"], "read_uncommitted")


async def transaction_offsets():
    source, sink = await create("aio-source"), await create("aio-sink")
    await produce(source, simple(10))
    partition = TopicPartition(source, 0)
    async with consumer(source, group_id="aio-txn") as reader, producer(transactional_id="aio-txn-offsets") as sender:
        await poll(reader, 10)
        for outcome in ("abort", "commit"):
            await send_in_transaction(sender, sink, [outcome.encode()])
            await sender.send_offsets_to_transaction({partition: 10}, "aio-txn")
            if outcome == "abort":
                await sender.abort_transaction()
                h.equal(await reader.committed(partition), None, "committed after an abort")
            else:
                await sender.commit_transaction()

        async def moved():
            return await reader.committed(partition) == 10
        await until("the offset", moved)
    h.equal(values(await consume(sink, [0], 1, isolation_level="read_committed")), [b"commit"], "the sink")


async def list_offsets():
    topic = await create("aio-offsets")
    await produce(topic, simple(100))
    partition = TopicPartition(topic, 0)
    async with consumer() as reader:
        h.equal((await reader.beginning_offsets([partition]))[partition], 0, "earliest")
        h.equal((await reader.end_offsets([partition]))[partition], 100, "latest")
        by_time = await reader.offsets_for_times({partition: h.BASE_MS + 42})
        h.equal(by_time[partition].offset, 42, "by time")
        late = await reader.offsets_for_times({partition: h.BASE_MS + 10**9})
        h.equal(late[partition], None, "after the last")


async def out_of_range_reset():
    topic = await create("aio-range")
    await produce(topic, simple(10))
    got = await consume(topic, [0], 10, start=1000)
    h.equal([m.offset for m in got], list(range(10)), "offsets after the reset")
    try:
        await consume(topic, [0], 1, start=1000, auto_offset_reset="none")
    except errors.OffsetOutOfRangeError:
        return
    raise AssertionError("no error without a reset")


class Member(ConsumerRebalanceListener):
    """A group member that polls in a task of its own."""

    def __init__(self, group, topic, **more):
        self.seen, self.assigned, self.revoked, self.error = set(), set(), [], None
        self.reader = AIOKafkaConsumer(**config(
            group_id=group, auto_offset_reset="earliest", session_timeout_ms=6000, heartbeat_interval_ms=500,
            enable_auto_commit=False, metadata_max_age_ms=1000, **more))
        self.reader.subscribe([topic], listener=self)
        self.task = asyncio.create_task(self._run())

    def on_partitions_revoked(self, revoked):
        if revoked:
            self.revoked.append(set(revoked))

    def on_partitions_assigned(self, assigned):
        pass

    async def _run(self):
        async with Running(self.reader):
            while True:
                for batch in (await self.reader.getmany(timeout_ms=100)).values():
                    self.seen |= {(m.partition, m.offset) for m in batch}
                self.assigned = {partition.partition for partition in self.reader.assignment()}

    async def stop(self):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass


def shared(members):
    for member in members:
        if member.task.done():
            member.task.result()
    parts = [set(member.assigned) for member in members]
    return sum(map(len, parts)) == h.PARTITIONS and set().union(*parts) == set(range(h.PARTITIONS)) and all(parts)


async def group_rebalance():
    topic = await create("aio-group", h.PARTITIONS)
    first = Member("aio-group", topic)
    await until("the first has all", lambda: shared([first]))
    second = Member("aio-group", topic)
    await until("both share", lambda: shared([first, second]))
    await produce(topic, [m for p in range(h.PARTITIONS) for m in simple(10, partition=p)])
    await until("all records", lambda: len(first.seen | second.seen) == 10 * h.PARTITIONS)
    await first.stop()
    await until("the second has all", lambda: shared([second]))
    await second.stop()


async def group_static():
    topic = await create("aio-static", h.PARTITIONS)
    a, b = [Member("aio-static", topic, group_instance_id=name) for name in "ab"]
    await until("both share", lambda: shared([a, b]))
    before, revoked = set(a.assigned), len(b.revoked)
    await a.stop()
    again = Member("aio-static", topic, group_instance_id="a")
    await until("it is back", lambda: again.assigned == before)
    h.equal(len(b.revoked), revoked, "rebalances of the other")
    await again.stop()
    await b.stop()


async def group_offsets():
    topic = await create("aio-committed")
    await produce(topic, simple(20))
    partition = TopicPartition(topic, 0)
    async with consumer(topic, group_id="aio-committed") as first:
        await poll(first, 20)
        await first.commit({partition: OffsetAndMetadata(12, "note")})
    async with consumer(topic, group_id="aio-committed") as second:
        h.equal((await poll(second, 1))[0].offset, 12, "where a new member goes on")
        h.equal(await second.committed(partition), 12, "committed")


async def configs_of(client, kind, name):
    found = (await client.describe_configs([ConfigResource(kind, name)]))[0].resources[0]
    h.equal(found[0], 0, f"error of {name}")
    return {entry[0]: entry[1] for entry in found[4]}


async def describe_configs():
    topic = await create("aio-configs", **{"retention.ms": "12345000"})
    async with admin() as client:
        got = await configs_of(client, ConfigResourceType.TOPIC, topic)
        h.equal((got["retention.ms"], got["cleanup.policy"]), ("12345000", "delete"), "configs")
        broker = str(min(h.BROKERS))
        h.true(await configs_of(client, ConfigResourceType.BROKER, broker), "the broker has configs")


async def alter_configs():
    topic = await create("aio-alter")
    async with admin() as client:
        answers = await client.alter_configs([ConfigResource(
            ConfigResourceType.TOPIC, topic, configs={"retention.ms": "777000"})])
        h.equal([entry[0] for answer in answers for entry in answer.resources], [0], "errors")

        async def changed():
            return (await configs_of(client, ConfigResourceType.TOPIC, topic))["retention.ms"] == "777000"
        await until("the new value", changed)


async def create_partitions():
    topic = await create("aio-partitions")
    async with admin() as client:
        accepted(await client.create_partitions({topic: NewPartitions(4)}))

        async def four():
            return len((await described(client, topic))["partitions"]) == 4
        await until("four partitions", four)
    await produce(topic, simple(5, partition=3))
    h.equal(values(await consume(topic, [3], 5)), numbered(5), "values")


async def delete_records():
    topic = await create("aio-delete-records")
    await produce(topic, simple(50))
    partition = TopicPartition(topic, 0)
    async with admin() as client:
        low = await client.delete_records({partition: RecordsToDelete(before_offset=30)})
        h.equal(low, {partition: 30}, "low watermark")
    h.equal([m.offset for m in await consume(topic, [0], 20)], list(range(30, 50)), "offsets that are left")


async def finished_group(group):
    topic = await create(group)
    await produce(topic, simple(10))
    async with consumer(topic, group_id=group) as reader:
        await poll(reader, 10)
        await reader.commit()


async def list_groups():
    await finished_group("aio-list")
    async with admin() as client:
        h.true("aio-list" in [group[0] for group in await client.list_consumer_groups()], "the group is listed")
        offsets = await client.list_consumer_group_offsets("aio-list")
        h.equal(offsets[TopicPartition("aio-list", 0)].offset, 10, "its offset")


async def describe_groups():
    topic = await create("aio-describe", h.PARTITIONS)
    member = Member("aio-describe", topic, client_id="somebody")
    await until("it has all", lambda: shared([member]))
    async with admin() as client:
        group = (await client.describe_consumer_groups(["aio-describe"]))[0].groups[0]
        h.equal((group[0], group[1], group[2]), (0, "aio-describe", "Stable"), "error, group and state")
        h.equal(len(group[5]), 1, "members")
        h.true("somebody" in group[5][0], "the member's client id")
    await member.stop()


async def delete_topic():
    topic = await create("aio-delete")
    async with admin() as client:
        accepted(await client.delete_topics([topic]))

        async def gone():
            return topic not in await client.list_topics()
        await until("it is gone", gone)


async def large_record():
    topic = await create("aio-large")
    value = os.urandom(900 * 1024)
    await produce(topic, [(0, b"large", value, None, 0)])
    h.true((await consume(topic, [0], 1))[0].value == value, "the value is as it was sent")


async def tombstones():
    topic = await create("aio-tombstones")
    sent = [(b"a", None), (b"b", b""), (None, b"c"), (b"", b"d")]
    await produce(topic, [(0, key, value, None, 0) for key, value in sent])
    h.equal([(m.key, m.value) for m in await consume(topic, [0], len(sent))], sent, "keys and values")


async def unknown_topic():
    async with admin() as client:
        h.equal((await described(client, "aio-nowhere"))["error_code"], 3, "describing it")
    async with producer(request_timeout_ms=3000) as sender:
        try:
            await sender.send_and_wait("aio-nowhere", b"x")
        except (errors.UnknownTopicOrPartitionError, errors.KafkaTimeoutError):
            return
        raise AssertionError("records of an unknown topic are taken")


async def round_trip(topic):
    await create(topic)
    await produce(topic, simple(10))
    h.equal(values(await consume(topic, [0], 10)), numbered(10), "values")


def secured(mechanism, password):
    SECURITY.clear()
    SECURITY.update(security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism, sasl_plain_username=h.user(mechanism),
                    sasl_plain_password=password)


def sasl(mechanism):
    async def check():
        secured(mechanism, h.PASSWORD)
        await round_trip("aio-" + mechanism.lower())
    check.__name__ = "sasl_" + mechanism.lower().replace("-", "_")
    return check


async def sasl_wrong_password():
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        secured(mechanism, "wrong")
        told = []

        class Keep(logging.Handler):
            def emit(self, record):
                told.append(record.getMessage())
        handler, logger = Keep(logging.ERROR), logging.getLogger("aiokafka")
        logger.addHandler(handler)
        logger.setLevel(logging.ERROR)
        try:
            async with producer():
                raise AssertionError(f"{mechanism}: a wrong password is let in")
        except errors.AuthenticationFailedError:
            pass
        except errors.KafkaConnectionError:
            # It logs why and goes on to the next address.
            h.true(any("uthentication" in line for line in told),
                   f"{mechanism}: the client is not told why: {told[:2]}")
        finally:
            logger.removeHandler(handler)


async def tls():
    SECURITY.clear()
    SECURITY.update(security_protocol="SSL", ssl_context=ssl.create_default_context(cafile=h.CA))
    await round_trip("aio-tls")


async def restart_write():
    topic = await create("aio-restart")
    await produce(topic, simple(20))
    partition = TopicPartition(topic, 0)
    async with consumer(group_id="aio-restart") as reader:
        reader.assign([partition])
        await reader.commit({partition: 12})


async def restart_read():
    async with consumer("aio-restart", group_id="aio-restart") as reader:
        h.equal([m.offset for m in await poll(reader, 8)], list(range(12, 20)), "where the group goes on")
    h.equal(values(await consume("aio-restart", [0], 20)), numbered(20), "values")


h.run({
    "plain": [
        metadata, create_topic, produce_fetch, *[codec(kind) for kind in ("none", "gzip", "snappy", "lz4", "zstd")],
        idempotent_producer, transaction_commit, transaction_abort, transaction_offsets, list_offsets,
        out_of_range_reset, ("fetch-session", "the client does not use fetch sessions"), group_rebalance,
        group_static, ("group-cooperative", "the client has no cooperative assignor"), group_offsets,
        describe_configs, alter_configs, create_partitions, delete_records, list_groups, describe_groups,
        ("delete-groups", "the client cannot delete groups"),
        ("alter-group-offsets", "the client cannot alter a group's offsets without being a member"),
        ("acls", "the client has no ACL requests"), ("scram-users", "the client has no SCRAM user requests"),
        delete_topic, large_record, tombstones, unknown_topic,
        ("describe-cluster", "the client describes the cluster by Metadata"),
        ("kip-848", "the client does not speak KIP-848"),
    ],
    "sasl": [sasl("PLAIN"), sasl("SCRAM-SHA-256"), sasl("SCRAM-SHA-512"), sasl_wrong_password],
    "tls": [tls],
    "restart-write": [restart_write],
    "restart-read": [restart_read],
})
