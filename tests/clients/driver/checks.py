"""The checks, by the mode of the server that they need, and the clients.

The Kafka checks are those that matter to users (clients.md, "Checks that matter to users").
"""

KAFKA = {
    "plain": [
        "metadata", "create-topic", "produce-fetch", "codec-none", "codec-gzip", "codec-snappy", "codec-lz4",
        "codec-zstd", "idempotent-producer", "transaction-commit", "transaction-abort", "transaction-offsets",
        "list-offsets", "out-of-range-reset", "fetch-session", "group-rebalance", "group-static",
        "group-cooperative", "group-offsets", "describe-configs", "alter-configs", "create-partitions",
        "delete-records", "list-groups", "describe-groups", "delete-groups", "alter-group-offsets", "acls",
        "scram-users", "delete-topic", "large-record", "tombstones", "unknown-topic", "describe-cluster", "kip-848",
    ],
    "sasl": ["sasl-plain", "sasl-scram-sha-256", "sasl-scram-sha-512", "sasl-wrong-password"],
    "tls": ["tls"],
    "restart-write": ["restart-write"],
    "restart-read": ["restart-read"],
}

# Told, but no failure: a broker need not offer these (clients.md: "informative").
INFORMATIVE = {"describe-cluster", "kip-848"}

SCHEMA_REGISTRY = {
    "plain": [
        "types", "register", "look-up", "versions", "by-id", "compatible", "incompatible", "compatibility-level",
        "delete-version", "delete-subject", "json-schema", "protobuf", "serialized-records",
    ],
}

HTTP_PROXY = {
    "plain": [
        "brokers", "topics", "produce-json", "produce-binary", "fetch", "consumer", "consumer-elsewhere",
        "consumer-offsets", "wrong-content-type", "unknown-topic",
    ],
}

ADMIN = {
    "plain": [
        "ready", "brokers", "health", "cluster-config", "cluster-config-change", "partitions", "transfer-leadership",
        "users", "maintenance", "features", "node-config", "metrics", "unknown-broker",
    ],
}

# Checks whose outcome depends on the way to the brokers: a client reads and writes at every partition's leader, speaks to the
# coordinators of its group and transaction, finds names in certificates, and is sent to a broker by its advertised address.
ROUTES = {
    "metadata", "produce-fetch", "transaction-commit", "group-rebalance", "sasl-scram-sha-256", "tls", "register",
    "serialized-records", "brokers", "produce-json", "consumer", "consumer-elsewhere", "ready", "transfer-leadership",
    "node-config",
}

# Each client with its checks, in the order of the table.
CLIENTS = {
    "kcat": KAFKA,
    "confluent-kafka": KAFKA,
    "kafka-clients": KAFKA,
    "franz-go": KAFKA,
    "sarama": KAFKA,
    "kafka-go": KAFKA,
    "kafka-python": KAFKA,
    "aiokafka": KAFKA,
    "kafkajs": KAFKA,
    "rskafka": KAFKA,
    "confluent-registry": SCHEMA_REGISTRY,
    "franz-go-registry": SCHEMA_REGISTRY,
    "curl-http-proxy": HTTP_PROXY,
    "curl-admin": ADMIN,
}

# These take the longest to install: they come first.
LONGEST_INSTALLATIONS = ("rskafka", "franz-go")

# The checks of these take the longest, a minute or more: they come next, so that none of them is left over at the end.
LONGEST_CHECKS = ("kafkajs", "kafka-clients", "kafka-python")

# What the brokers of a client are given besides (`--set`): kcat cannot create topics but by producing.
PROPERTIES = {"kcat": ["auto_create_topics_enabled=true"]}

# What the second reads, the first wrote. The brokers end between the two, which those of `exec` do not.
RESTART = ("restart-write", "restart-read")
