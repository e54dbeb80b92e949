import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Properties;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.*;

/** kafka-clients (Java): the checks. driver/harness.py tells what the environment holds. */
public final class Client {
    private static final int PARTITIONS = 6;
    private static final int RECORDS = 1000;
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final long BASE_MS = System.currentTimeMillis() - 100_000;
    private static final String BOOTSTRAP = env("HOPWISE_BOOTSTRAP");
    private static final Map<Integer, String> BROKERS = brokers();
    private static final short REPLICAS = (short) Math.min(3, BROKERS.size());
    private static final Map<String, Object> SECURITY = new HashMap<>();

    private interface Check {
        void run() throws Exception;
    }

    private static String env(String name) {
        return Objects.requireNonNullElse(System.getenv(name), "");
    }

    private static Map<Integer, String> brokers() {
        Map<Integer, String> brokers = new TreeMap<>();
        for (String entry : env("HOPWISE_BROKERS").split(",")) {
            String[] parts = entry.split("=");
            if (parts.length == 2) {
                brokers.put(Integer.parseInt(parts[0]), parts[1]);
            }
        }
        return brokers;
    }

    // What the checks have in common.

    private static Map<String, Object> config(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", BOOTSTRAP);
        config.put("request.timeout.ms", 20_000);
        config.put("default.api.timeout.ms", 30_000);
        config.putAll(SECURITY);
        config.putAll(more);
        return config;
    }

    private static Admin admin() {
        return Admin.create(config(Map.of()));
    }

    private static KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        Map<String, Object> all = new HashMap<>(Map.of("acks", "all", "linger.ms", 5, "max.block.ms", 30_000));
        all.putAll(more);
        Map<String, Object> config = config(all);
        config.remove("default.api.timeout.ms");
        config.put("delivery.timeout.ms", 30_000);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> more) {
        Map<String, Object> all = new HashMap<>(Map.of("auto.offset.reset", "earliest", "enable.auto.commit", false));
        all.putAll(more);
        return new KafkaConsumer<>(config(all), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static <T> T get(KafkaFuture<T> future) throws Exception {
        try {
            return future.get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException error) {
            throw error.getCause() instanceof Exception cause ? cause : error;
        }
    }

    private static void equal(Object got, Object wanted, String what) {
        if (!Objects.deepEquals(got, wanted)) {
            throw new AssertionError(what + ": got " + shorten(got) + ", expected " + shorten(wanted));
        }
    }

    private static String shorten(Object value) {
        String text = String.valueOf(value);
        return text.length() < 200 ? text : text.substring(0, 200) + "...";
    }

    private static void isTrue(boolean sound, String what) {
        if (!sound) {
            throw new AssertionError(what);
        }
    }

    private static void until(String what, Callable<Boolean> look) throws Exception {
        long end = System.nanoTime() + PATIENCE.toNanos();
        Exception last = null;
        while (System.nanoTime() < end) {
            try {
                if (look.call()) {
                    return;
                }
                last = null;
            } catch (UnknownTopicOrPartitionException | ResourceNotFoundException error) {
                last = error;
            }
            Thread.sleep(100);
        }
        throw new AssertionError(what + ": not within " + PATIENCE, last);
    }

    private static String create(String topic, int partitions, Map<String, String> configs) throws Exception {
        try (Admin admin = admin()) {
            get(admin.createTopics(List.of(new NewTopic(topic, partitions, REPLICAS).configs(configs))).all());
            until("topic " + topic + " is known", () -> {
                TopicDescription found = describe(admin, topic);
                return found.partitions().size() == partitions
                    && found.partitions().stream().allMatch(p -> p.leader() != null && !p.leader().isEmpty());
            });
        }
        return topic;
    }

    private static TopicDescription describe(Admin admin, String topic) throws Exception {
        return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    }

    private static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    private static List<ProducerRecord<byte[], byte[]>> simple(String topic, int partition, int count) {
        return IntStream.range(0, count).mapToObj(i -> new ProducerRecord<>(
            topic, partition, BASE_MS + i, bytes("k" + i), bytes("v" + i))).collect(Collectors.toList());
    }

    private static List<Long> produce(List<ProducerRecord<byte[], byte[]>> records, Map<String, Object> more)
            throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(more)) {
            return send(producer, records);
        }
    }

    private static List<Long> send(KafkaProducer<byte[], byte[]> producer, List<ProducerRecord<byte[], byte[]>> records)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> record : records) {
            sent.add(producer.send(record));
        }
        producer.flush();
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> future : sent) {
            try {
                offsets.add(future.get(30, TimeUnit.SECONDS).offset());
            } catch (ExecutionException error) {
                throw error.getCause() instanceof Exception cause ? cause : error;
            }
        }
        return offsets;
    }

    private static List<ConsumerRecord<byte[], byte[]>> consume(
            String topic, int[] partitions, long from, int count, Map<String, Object> more) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(more)) {
            List<TopicPartition> assigned =
                Arrays.stream(partitions).mapToObj(p -> new TopicPartition(topic, p)).collect(Collectors.toList());
            consumer.assign(assigned);
            if (from < 0) {
                consumer.seekToBeginning(assigned);
            } else {
                assigned.forEach(partition -> consumer.seek(partition, from));
            }
            return poll(consumer, count);
        }
    }

    private static List<ConsumerRecord<byte[], byte[]>> poll(Consumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> all = new ArrayList<>();
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (all.size() < count) {
            isTrue(System.nanoTime() < end, all.size() + " of " + count + " records within " + PATIENCE);
            consumer.poll(Duration.ofMillis(200)).forEach(all::add);
        }
        return all;
    }

    private static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(record -> text(record.value())).collect(Collectors.toList());
    }

    private static List<String> read(String topic, int count, Map<String, Object> more) {
        return values(consume(topic, new int[] {0}, -1, count, more));
    }

    private static List<String> numbered(String prefix, int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> prefix + i).collect(Collectors.toList());
    }

    private static int[] all() {
        return IntStream.range(0, PARTITIONS).toArray();
    }

    private static final Map<String, Object> COMMITTED = Map.of("isolation.level", "read_committed");

    // The checks.

    private static void metadata() throws Exception {
        try (Admin admin = admin()) {
            DescribeClusterResult found = admin.describeCluster();
            Map<Integer, String> got = new TreeMap<>();
            get(found.nodes()).forEach(node -> got.put(node.id(), node.host() + ":" + node.port()));
            equal(got, BROKERS, "brokers");
            isTrue(got.containsKey(get(found.controller()).id()), "the controller is a broker");
        }
    }

    private static void createTopic() throws Exception {
        create("ja-create", PARTITIONS, Map.of());
        try (Admin admin = admin()) {
            for (TopicPartitionInfo partition : describe(admin, "ja-create").partitions()) {
                equal(new HashSet<>(partition.replicas()).size(), (int) REPLICAS, "replicas");
                isTrue(partition.replicas().contains(partition.leader()), "the leader is a replica");
            }
            try {
                get(admin.createTopics(List.of(new NewTopic("ja-create", 1, REPLICAS))).all());
            } catch (TopicExistsException expected) {
                return;
            }
            throw new AssertionError("a topic can be created twice");
        }
    }

    private static byte[] wantedValue(int i) {
        byte[] head = bytes("value-" + i + "-");
        byte[] value = Arrays.copyOf(head, head.length + i % 300);
        for (int j = 0; j < i % 300; j++) {
            value[head.length + j] = (byte) j;
        }
        return value;
    }

    private static void produceFetch() throws Exception {
        String topic = create("ja-records", PARTITIONS, Map.of());
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < RECORDS; i++) {
            List<Header> headers = List.of(new RecordHeader("number", bytes("" + i)),
                new RecordHeader("bytes", new byte[] {0, (byte) 255, (byte) i}));
            records.add(new ProducerRecord<>(
                topic, i % PARTITIONS, BASE_MS + i, bytes("key-" + i), wantedValue(i), headers));
        }
        produce(records, Map.of());
        int[] next = new int[PARTITIONS];
        for (ConsumerRecord<byte[], byte[]> got : consume(topic, all(), -1, RECORDS, Map.of())) {
            int i = next[got.partition()]++ * PARTITIONS + got.partition();
            String what = "record " + i;
            equal(text(got.key()), "key-" + i, what);
            equal(got.value(), wantedValue(i), what);
            equal(got.timestamp(), BASE_MS + i, what);
            equal(got.headers().toArray().length, 2, what);
            equal(text(got.headers().lastHeader("number").value()), "" + i, what);
            equal(got.headers().lastHeader("bytes").value(), new byte[] {0, (byte) 255, (byte) i}, what);
        }
    }

    private static Check codec(String kind) {
        return () -> {
            String topic = create("ja-codec-" + kind, 1, Map.of());
            List<String> wanted = IntStream.range(0, 100)
                .mapToObj(i -> i + "-" + "compressible ".repeat(50)).collect(Collectors.toList());
            produce(wanted.stream().map(value -> new ProducerRecord<byte[], byte[]>(topic, 0, null, bytes(value)))
                .collect(Collectors.toList()), Map.of("compression.type", kind, "linger.ms", 50));
            equal(read(topic, 100, Map.of()), wanted, "values");
        };
    }

    private static void idempotentProducer() throws Exception {
        String topic = create("ja-idempotent", 1, Map.of());
        List<Long> offsets = produce(simple(topic, 0, 500), Map.of("enable.idempotence", true));
        equal(offsets, IntStream.range(0, 500).mapToObj(i -> (long) i).collect(Collectors.toList()), "offsets");
        equal(read(topic, 500, Map.of()), numbered("v", 0, 500), "values");
    }

    private static KafkaProducer<byte[], byte[]> transactional(String id) {
        KafkaProducer<byte[], byte[]> producer = producer(Map.of("transactional.id", id));
        producer.initTransactions();
        return producer;
    }

    private static void inTransaction(KafkaProducer<byte[], byte[]> producer, String topic, List<String> values)
            throws Exception {
        producer.beginTransaction();
        send(producer, values.stream().map(value -> new ProducerRecord<byte[], byte[]>(topic, 0, null, bytes(value)))
            .collect(Collectors.toList()));
    }

    private static void transactionCommit() throws Exception {
        String topic = create("ja-commit", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = transactional("ja-commit")) {
            for (int start = 0; start < 20; start += 10) {
                inTransaction(producer, topic, numbered("c", start, start + 10));
                producer.commitTransaction();
            }
        }
        equal(read(topic, 20, COMMITTED), numbered("c", 0, 20), "committed values");
    }

    private static void transactionAbort() throws Exception {
        String topic = create("ja-abort", 1, Map.of());
        List<String> aborted = Collections.nCopies(5, "aborted");
        try (KafkaProducer<byte[], byte[]> producer = transactional("ja-abort");
                KafkaConsumer<byte[], byte[]> reader = consumer(COMMITTED)) {
            inTransaction(producer, topic, aborted);
            reader.assign(List.of(new TopicPartition(topic, 0)));
            reader.seekToBeginning(reader.assignment());
            equal(reader.poll(Duration.ofMillis(1500)).count(), 0, "read_committed of an open transaction");
            producer.abortTransaction();
            inTransaction(producer, topic, List.of("kept"));
            producer.commitTransaction();
            equal(values(poll(reader, 1)), List.of("kept"), "read_committed");
        }
        List<String> everything = new ArrayList<>(aborted);
        everything.add("kept");
        equal(read(topic, 6, Map.of("isolation.level", "read_uncommitted")), everything, "read_uncommitted");
    }

    private static void transactionOffsets() throws Exception {
        String source = create("ja-source", 1, Map.of());
        String sink = create("ja-sink", 1, Map.of());
        produce(simple(source, 0, 10), Map.of());
        TopicPartition partition = new TopicPartition(source, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", "ja-txn"));
                KafkaProducer<byte[], byte[]> producer = transactional("ja-txn-offsets")) {
            consumer.subscribe(List.of(source));
            poll(consumer, 10);
            for (String outcome : List.of("abort", "commit")) {
                inTransaction(producer, sink, List.of(outcome));
                producer.sendOffsetsToTransaction(
                    Map.of(partition, new OffsetAndMetadata(10)), consumer.groupMetadata());
                if (outcome.equals("abort")) {
                    producer.abortTransaction();
                    equal(consumer.committed(Set.of(partition)).get(partition), null, "committed after an abort");
                } else {
                    producer.commitTransaction();
                }
            }
            until("the offset", () -> {
                OffsetAndMetadata committed = consumer.committed(Set.of(partition)).get(partition);
                return committed != null && committed.offset() == 10;
            });
        }
        equal(read(sink, 1, COMMITTED), List.of("commit"), "the sink");
    }

    private static void listOffsets() throws Exception {
        String topic = create("ja-offsets", 1, Map.of());
        produce(simple(topic, 0, 100), Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = admin(); KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            equal(offset(admin, partition, OffsetSpec.earliest()), 0L, "earliest");
            equal(offset(admin, partition, OffsetSpec.latest()), 100L, "latest");
            equal(offset(admin, partition, OffsetSpec.forTimestamp(BASE_MS + 42)), 42L, "by time");
            equal(offset(admin, partition, OffsetSpec.forTimestamp(BASE_MS + 1_000_000_000)), -1L, "after the last");
            equal(consumer.beginningOffsets(List.of(partition)).get(partition), 0L, "beginningOffsets");
            equal(consumer.endOffsets(List.of(partition)).get(partition), 100L, "endOffsets");
            equal(consumer.offsetsForTimes(Map.of(partition, BASE_MS + 7)).get(partition).offset(), 7L,
                "offsetsForTimes");
        }
    }

    private static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(partition, spec)).partitionResult(partition)).offset();
    }

    private static void outOfRangeReset() throws Exception {
        String topic = create("ja-range", 1, Map.of());
        produce(simple(topic, 0, 10), Map.of());
        equal(values(consume(topic, new int[] {0}, 1000, 10, Map.of())), numbered("v", 0, 10), "after the reset");
        try {
            consume(topic, new int[] {0}, 1000, 1, Map.of("auto.offset.reset", "none"));
        } catch (org.apache.kafka.clients.consumer.OffsetOutOfRangeException expected) {
            return;
        }
        throw new AssertionError("no error without a reset");
    }

    private static void fetchSession() throws Exception {
        String topic = create("ja-session", PARTITIONS, Map.of());
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(Arrays.stream(all()).mapToObj(p -> new TopicPartition(topic, p)).toList());
            consumer.seekToBeginning(consumer.assignment());
            for (int round = 0; round < 5; round++) {
                produce(List.of(new ProducerRecord<>(topic, round % PARTITIONS, null, bytes("" + round))), Map.of());
                equal(values(poll(consumer, 1)), List.of("" + round), "what an incremental fetch brings");
            }
        }
    }

    /** A group member that polls on a thread of its own. */
    private static final class Member implements ConsumerRebalanceListener {
        final Set<String> seen = Collections.synchronizedSet(new HashSet<>());
        volatile Set<Integer> assigned = Set.of();
        volatile int revoked;
        volatile Throwable failure;
        private volatile boolean stopping;
        private final Thread thread;

        Member(String group, String topic, Map<String, Object> more) {
            Map<String, Object> all = new HashMap<>(Map.of(
                "group.id", group, "session.timeout.ms", 6000, "heartbeat.interval.ms", 500));
            all.putAll(more);
            thread = new Thread(() -> {
                try (KafkaConsumer<byte[], byte[]> consumer = consumer(all)) {
                    consumer.subscribe(List.of(topic), this);
                    while (!stopping) {
                        consumer.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.partition() + "/" + r.offset()));
                        assigned = consumer.assignment().stream().map(TopicPartition::partition)
                            .collect(Collectors.toCollection(TreeSet::new));
                    }
                } catch (Throwable error) {
                    failure = error;
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            if (!stopping) {
                revoked += partitions.size();
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        }

        void leave() throws Exception {
            stopping = true;
            thread.join(PATIENCE.toMillis());
            isTrue(!thread.isAlive(), "the member leaves");
            isTrue(failure == null, "a member failed: " + failure);
        }
    }

    private static void share(Member... members) throws Exception {
        until(members.length + " members share", () -> {
            Set<Integer> together = new TreeSet<>();
            int sum = 0;
            for (Member member : members) {
                isTrue(member.failure == null, "a member failed: " + member.failure);
                together.addAll(member.assigned);
                sum += member.assigned.size();
                if (member.assigned.isEmpty()) {
                    return false;
                }
            }
            return sum == PARTITIONS && together.size() == PARTITIONS;
        });
    }

    private static void groupRebalance() throws Exception {
        String topic = create("ja-group", PARTITIONS, Map.of());
        Map<String, Object> range =
            Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
        Member first = new Member("ja-group", topic, range);
        share(first);
        Member second = new Member("ja-group", topic, range);
        share(first, second);
        for (int partition : all()) {
            produce(simple(topic, partition, 10), Map.of());
        }
        until("all records", () -> {
            Set<String> seen = new HashSet<>(first.seen);
            seen.addAll(second.seen);
            return seen.size() == 60;
        });
        first.leave();
        share(second);
        second.leave();
    }

    private static void groupStatic() throws Exception {
        String topic = create("ja-static", PARTITIONS, Map.of());
        Member a = new Member("ja-static", topic, Map.of("group.instance.id", "a"));
        Member b = new Member("ja-static", topic, Map.of("group.instance.id", "b"));
        share(a, b);
        Set<Integer> before = a.assigned;
        int revoked = b.revoked;
        a.leave();
        Member again = new Member("ja-static", topic, Map.of("group.instance.id", "a"));
        until("it is back", () -> again.assigned.equals(before));
        equal(b.revoked, revoked, "partitions that the other lost");
        again.leave();
        b.leave();
    }

    private static void groupCooperative() throws Exception {
        String topic = create("ja-cooperative", PARTITIONS, Map.of());
        Map<String, Object> cooperative =
            Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        Member first = new Member("ja-cooperative", topic, cooperative);
        share(first);
        Member second = new Member("ja-cooperative", topic, cooperative);
        share(first, second);
        equal(first.revoked, second.assigned.size(), "partitions given up");
        first.leave();
        second.leave();
    }

    private static void groupOffsets() throws Exception {
        String topic = create("ja-committed", 1, Map.of());
        produce(simple(topic, 0, 20), Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> first = consumer(Map.of("group.id", "ja-committed"))) {
            first.subscribe(List.of(topic));
            poll(first, 20);
            first.commitSync(Map.of(partition, new OffsetAndMetadata(12, "note")));
        }
        try (KafkaConsumer<byte[], byte[]> second = consumer(Map.of("group.id", "ja-committed"))) {
            second.subscribe(List.of(topic));
            equal(poll(second, 1).get(0).offset(), 12L, "where a new member goes on");
            OffsetAndMetadata committed = second.committed(Set.of(partition)).get(partition);
            equal(committed.offset() + " " + committed.metadata(), "12 note", "committed");
        }
    }

    private static String configOf(Admin admin, ConfigResource resource, String key) throws Exception {
        ConfigEntry entry = get(admin.describeConfigs(List.of(resource)).all()).get(resource).get(key);
        return entry == null ? null : entry.value();
    }

    private static void describeConfigs() throws Exception {
        String topic = create("ja-configs", 1, Map.of("retention.ms", "12345000"));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin()) {
            equal(configOf(admin, resource, "retention.ms"), "12345000", "retention.ms");
            equal(configOf(admin, resource, "cleanup.policy"), "delete", "cleanup.policy");
            for (int id : BROKERS.keySet()) {
                ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "" + id);
                isTrue(!get(admin.describeConfigs(List.of(broker)).all()).get(broker).entries().isEmpty(),
                    "broker " + id + " has configs");
            }
        }
    }

    private static void alterConfigs() throws Exception {
        String topic = create("ja-alter", 1, Map.of());
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin()) {
            ConfigEntry entry = new ConfigEntry("retention.ms", "777000");
            get(admin.incrementalAlterConfigs(
                Map.of(resource, List.of(new AlterConfigOp(entry, AlterConfigOp.OpType.SET)))).all());
            until("the new value", () -> "777000".equals(configOf(admin, resource, "retention.ms")));
            get(admin.incrementalAlterConfigs(
                Map.of(resource, List.of(new AlterConfigOp(entry, AlterConfigOp.OpType.DELETE)))).all());
            until("the default again", () -> !"777000".equals(configOf(admin, resource, "retention.ms")));
        }
    }

    private static void createPartitions() throws Exception {
        String topic = create("ja-partitions", 1, Map.of());
        try (Admin admin = admin()) {
            get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());
            until("four partitions", () -> describe(admin, topic).partitions().size() == 4);
        }
        produce(simple(topic, 3, 5), Map.of());
        equal(values(consume(topic, new int[] {3}, -1, 5, Map.of())), numbered("v", 0, 5), "values");
    }

    private static void deleteRecords() throws Exception {
        String topic = create("ja-delete-records", 1, Map.of());
        produce(simple(topic, 0, 50), Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = admin()) {
            DeleteRecordsResult deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(30)));
            equal(get(deleted.lowWatermarks().get(partition)).lowWatermark(), 30L, "low watermark");
        }
        equal(read(topic, 20, Map.of()), numbered("v", 30, 50), "values that are left");
    }

    private static void finishedGroup(String group) throws Exception {
        String topic = create(group, 1, Map.of());
        produce(simple(topic, 0, 10), Map.of());
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", group))) {
            consumer.subscribe(List.of(topic));
            poll(consumer, 10);
            consumer.commitSync();
        }
    }

    private static Set<String> groups(Admin admin) throws Exception {
        return get(admin.listConsumerGroups().all()).stream().map(ConsumerGroupListing::groupId)
            .collect(Collectors.toSet());
    }

    private static void listGroups() throws Exception {
        finishedGroup("ja-list");
        try (Admin admin = admin()) {
            isTrue(groups(admin).contains("ja-list"), "the group is listed");
        }
    }

    private static void describeGroups() throws Exception {
        String topic = create("ja-describe", PARTITIONS, Map.of());
        Member member = new Member("ja-describe", topic, Map.of("client.id", "somebody"));
        share(member);
        try (Admin admin = admin()) {
            ConsumerGroupDescription got =
                get(admin.describeConsumerGroups(List.of("ja-describe")).all()).get("ja-describe");
            equal(got.groupState(), GroupState.STABLE, "state");
            equal(got.members().size(), 1, "members");
            MemberDescription described = got.members().iterator().next();
            equal(described.clientId(), "somebody", "client id");
            equal(described.assignment().topicPartitions().size(), PARTITIONS, "assignment");
        }
        member.leave();
    }

    private static void deleteGroups() throws Exception {
        finishedGroup("ja-delete-group");
        try (Admin admin = admin()) {
            get(admin.deleteConsumerGroups(List.of("ja-delete-group")).all());
            isTrue(!groups(admin).contains("ja-delete-group"), "the group is gone");
        }
    }

    private static void alterGroupOffsets() throws Exception {
        finishedGroup("ja-alter-group");
        TopicPartition partition = new TopicPartition("ja-alter-group", 0);
        try (Admin admin = admin()) {
            get(admin.alterConsumerGroupOffsets("ja-alter-group", Map.of(partition, new OffsetAndMetadata(4))).all());
            equal(get(admin.listConsumerGroupOffsets("ja-alter-group").partitionsToOffsetAndMetadata())
                .get(partition).offset(), 4L, "offset");
            get(admin.deleteConsumerGroupOffsets("ja-alter-group", Set.of(partition)).all());
            equal(get(admin.listConsumerGroupOffsets("ja-alter-group").partitionsToOffsetAndMetadata())
                .get(partition), null, "offset after its deletion");
        }
    }

    private static void acls() throws Exception {
        AclBinding binding = new AclBinding(new ResourcePattern(ResourceType.TOPIC, "ja-acl", PatternType.LITERAL),
            new AccessControlEntry("User:somebody", "*", AclOperation.READ, AclPermissionType.ALLOW));
        AclBindingFilter filter = new AclBindingFilter(
            new ResourcePatternFilter(ResourceType.TOPIC, "ja-acl", PatternType.LITERAL), AccessControlEntryFilter.ANY);
        try (Admin admin = admin()) {
            get(admin.createAcls(List.of(binding)).all());
            until("the ACL", () -> List.of(binding).equals(List.copyOf(get(admin.describeAcls(filter).values()))));
            equal(List.copyOf(get(admin.deleteAcls(List.of(filter)).all())), List.of(binding), "deleted");
            until("no ACL", () -> get(admin.describeAcls(filter).values()).isEmpty());
        }
    }

    private static void scramUsers() throws Exception {
        try (Admin admin = admin()) {
            ScramCredentialInfo info = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096);
            get(admin.alterUserScramCredentials(
                List.of(new UserScramCredentialUpsertion("ja-user", info, "secret"))).all());
            until("the user", () -> get(admin.describeUserScramCredentials(List.of("ja-user")).description("ja-user"))
                .credentialInfos().equals(List.of(info)));
            get(admin.alterUserScramCredentials(
                List.of(new UserScramCredentialDeletion("ja-user", ScramMechanism.SCRAM_SHA_256))).all());
            until("no user", () -> !get(admin.describeUserScramCredentials().users()).contains("ja-user"));
        }
    }

    private static void deleteTopic() throws Exception {
        String topic = create("ja-delete", 1, Map.of());
        try (Admin admin = admin()) {
            get(admin.deleteTopics(List.of(topic)).all());
            until("it is gone", () -> !get(admin.listTopics().names()).contains(topic));
        }
    }

    private static void largeRecord() throws Exception {
        String topic = create("ja-large", 1, Map.of());
        byte[] value = new byte[900 * 1024];
        new Random(1).nextBytes(value);
        produce(List.of(new ProducerRecord<>(topic, 0, null, value)), Map.of());
        isTrue(Arrays.equals(consume(topic, new int[] {0}, -1, 1, Map.of()).get(0).value(), value),
            "the value is as it was sent");
    }

    private static void tombstones() throws Exception {
        String topic = create("ja-tombstones", 1, Map.of());
        String[][] sent = {{"a", null}, {"b", ""}, {null, "c"}, {"", "d"}, {null, null}};
        produce(Arrays.stream(sent).map(pair -> new ProducerRecord<>(topic, 0, bytes(pair[0]), bytes(pair[1])))
            .collect(Collectors.toList()), Map.of());
        List<List<String>> got = consume(topic, new int[] {0}, -1, sent.length, Map.of()).stream()
            .map(record -> Arrays.asList(text(record.key()), text(record.value()))).collect(Collectors.toList());
        equal(got, Arrays.stream(sent).map(Arrays::asList).collect(Collectors.toList()), "keys and values");
    }

    private static void unknownTopic() throws Exception {
        try (Admin admin = admin()) {
            describe(admin, "ja-nowhere");
            throw new AssertionError("an unknown topic is described");
        } catch (UnknownTopicOrPartitionException expected) {
            // As it should be.
        }
        try {
            produce(List.of(new ProducerRecord<>("ja-nowhere", bytes("x"))), Map.of("max.block.ms", 3000));
            throw new AssertionError("records of an unknown topic are taken");
        } catch (org.apache.kafka.common.errors.TimeoutException expected) {
            isTrue(expected.getMessage().contains("ja-nowhere"), "the error names the topic: " + expected);
        }
    }

    private static void describeCluster() throws Exception {
        try (Admin admin = admin()) {
            isTrue(!get(admin.describeCluster().clusterId()).isEmpty(), "a cluster id");
        }
    }

    private static void kip848() throws Exception {
        String topic = create("ja-848", PARTITIONS, Map.of());
        produce(simple(topic, 0, 10), Map.of());
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", "ja-848", "group.protocol", "consumer"))) {
            consumer.subscribe(List.of(topic));
            equal(poll(consumer, 10).size(), 10, "records");
        }
    }

    private static void roundTrip(String topic) throws Exception {
        create(topic, 1, Map.of());
        produce(simple(topic, 0, 10), Map.of());
        equal(read(topic, 10, Map.of()), numbered("v", 0, 10), "values");
    }

    private static void secure(String mechanism, String password) {
        String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
        SECURITY.clear();
        SECURITY.put("security.protocol", "SASL_PLAINTEXT");
        SECURITY.put("sasl.mechanism", mechanism);
        SECURITY.put("sasl.jaas.config", String.format(
            "org.apache.kafka.common.security.%s required username=\"%s\" password=\"%s\";",
            module, env(mechanism.endsWith("512") ? "HOPWISE_USER_512" : "HOPWISE_USER"), password));
    }

    private static Check sasl(String mechanism) {
        return () -> {
            secure(mechanism, env("HOPWISE_PASSWORD"));
            roundTrip("ja-" + mechanism.toLowerCase());
        };
    }

    private static void saslWrongPassword() throws Exception {
        for (String mechanism : List.of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")) {
            secure(mechanism, "wrong");
            try (Admin admin = admin()) {
                get(admin.describeCluster().nodes());
                throw new AssertionError(mechanism + ": a wrong password is let in");
            } catch (SaslAuthenticationException expected) {
                // As it should be.
            }
        }
    }

    private static void tls() throws Exception {
        SECURITY.clear();
        SECURITY.put("security.protocol", "SSL");
        SECURITY.put("ssl.truststore.type", "PEM");
        SECURITY.put("ssl.truststore.location", env("HOPWISE_CA"));
        roundTrip("ja-tls");
    }

    private static void restartWrite() throws Exception {
        String topic = create("ja-restart", 1, Map.of());
        produce(simple(topic, 0, 20), Map.of());
        try (Admin admin = admin()) {
            get(admin.alterConsumerGroupOffsets("ja-restart",
                Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(12))).all());
        }
    }

    private static void restartRead() {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", "ja-restart"))) {
            consumer.subscribe(List.of("ja-restart"));
            equal(values(poll(consumer, 8)), numbered("v", 12, 20), "where the group goes on");
        }
        equal(read("ja-restart", 20, Map.of()), numbered("v", 0, 20), "values");
    }

    // Running them.

    private static Map<String, Check> checks(String mode) {
        Map<String, Check> checks = new java.util.LinkedHashMap<>();
        switch (mode) {
            case "sasl" -> {
                for (String mechanism : List.of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")) {
                    checks.put("sasl-" + mechanism.toLowerCase(), sasl(mechanism));
                }
                checks.put("sasl-wrong-password", Client::saslWrongPassword);
            }
            case "tls" -> checks.put("tls", Client::tls);
            case "restart-write" -> checks.put("restart-write", Client::restartWrite);
            case "restart-read" -> checks.put("restart-read", Client::restartRead);
            default -> {
                checks.put("metadata", Client::metadata);
                checks.put("create-topic", Client::createTopic);
                checks.put("produce-fetch", Client::produceFetch);
                for (String kind : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                    checks.put("codec-" + kind, codec(kind));
                }
                checks.put("idempotent-producer", Client::idempotentProducer);
                checks.put("transaction-commit", Client::transactionCommit);
                checks.put("transaction-abort", Client::transactionAbort);
                checks.put("transaction-offsets", Client::transactionOffsets);
                checks.put("list-offsets", Client::listOffsets);
                checks.put("out-of-range-reset", Client::outOfRangeReset);
                checks.put("fetch-session", Client::fetchSession);
                checks.put("group-rebalance", Client::groupRebalance);
                checks.put("group-static", Client::groupStatic);
                checks.put("group-cooperative", Client::groupCooperative);
                checks.put("group-offsets", Client::groupOffsets);
                checks.put("describe-configs", Client::describeConfigs);
                checks.put("alter-configs", Client::alterConfigs);
                checks.put("create-partitions", Client::createPartitions);
                checks.put("delete-records", Client::deleteRecords);
                checks.put("list-groups", Client::listGroups);
                checks.put("describe-groups", Client::describeGroups);
                checks.put("delete-groups", Client::deleteGroups);
                checks.put("alter-group-offsets", Client::alterGroupOffsets);
                checks.put("acls", Client::acls);
                checks.put("scram-users", Client::scramUsers);
                checks.put("delete-topic", Client::deleteTopic);
                checks.put("large-record", Client::largeRecord);
                checks.put("tombstones", Client::tombstones);
                checks.put("unknown-topic", Client::unknownTopic);
                checks.put("describe-cluster", Client::describeCluster);
                checks.put("kip-848", Client::kip848);
            }
        }
        return checks;
    }

    public static void main(String[] arguments) {
        String mode = arguments.length > 0 ? arguments[0] : "plain";
        List<String> only = Arrays.asList(arguments).subList(Math.min(1, arguments.length), arguments.length);
        ExecutorService threads = Executors.newCachedThreadPool(runnable -> {
            Thread thread = new Thread(runnable);
            thread.setDaemon(true);
            return thread;
        });
        checks(mode).forEach((name, check) -> {
            if (!only.isEmpty() && !only.contains(name)) {
                return;
            }
            Future<Void> running = threads.submit(() -> {
                check.run();
                return null;
            });
            try {
                running.get(2, TimeUnit.MINUTES);
                say(name, "pass", "");
            } catch (ExecutionException error) {
                Throwable cause = error.getCause();
                String why = cause.getCause() == null ? "" : " (" + cause.getCause() + ")";
                say(name, "fail", cause + why);
            } catch (Exception error) {
                running.cancel(true);
                say(name, "fail", "it hangs: not ended after two minutes");
            }
        });
        System.exit(0);
    }

    private static void say(String check, String outcome, String detail) {
        String line = detail.replaceAll("\\s+", " ");
        System.out.println(check + "\t" + outcome + "\t" + line.substring(0, Math.min(500, line.length())));
        System.out.flush();
    }
}
