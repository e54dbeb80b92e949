"""The Admin API by curl: what rpk and the Redpanda operator ask it (redpanda.md 3.1).

rpk itself is not to be had from a registry (../README.md).
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "driver"))
import curl  # noqa: E402
import harness as h  # noqa: E402
import kafka_topics  # noqa: E402

ADMIN = curl.addresses("HOPWISE_ADMIN")
JSON = ["Content-Type: application/json"]


def ask(method, path, body=None, broker=0, status=200):
    got, answer = curl.call(method, f"http://{ADMIN[broker]}{path}", body, JSON if body is not None else ())
    h.equal(got, status, f"{method} {path} ({h.shorten(answer)})")
    return answer


def ready():
    for broker in ADMIN:
        h.equal(ask("GET", "/v1/status/ready", broker=broker), {"status": "ready"}, f"broker {broker}")


def brokers():
    for broker in ADMIN:
        found = ask("GET", "/v1/brokers", broker=broker)
        h.equal(sorted(entry["node_id"] for entry in found), sorted(ADMIN), "ids")
        h.true(all(entry["is_alive"] and entry["membership_status"] == "active" for entry in found), "all are active")
    h.equal(ask("GET", "/v1/brokers/1")["node_id"], 1, "one broker")


def health():
    def healthy():
        return ask("GET", "/v1/cluster/health_overview")["is_healthy"]
    h.until("the cluster is healthy", healthy)
    found = ask("GET", "/v1/cluster/health_overview")
    h.equal((sorted(found["all_nodes"]), found["nodes_down"]), (sorted(ADMIN), []), "nodes")
    h.true(found["controller_id"] in ADMIN, "the controller is a broker")


def cluster_config():
    found = ask("GET", "/v1/cluster_config?include_defaults=true")
    h.true("auto_create_topics_enabled" in found, "a known property")
    schema = ask("GET", "/v1/cluster_config/schema")["properties"]
    h.equal(schema["auto_create_topics_enabled"]["type"], "boolean", "a property's type")


def cluster_config_change():
    change = {"upsert": {"default_topic_partitions": 4}, "remove": []}
    version = ask("PUT", "/v1/cluster_config", change)["config_version"]
    h.until("every broker has it", lambda: all(
        entry["config_version"] >= version for entry in ask("GET", "/v1/cluster_config/status")))
    for broker in ADMIN:
        h.equal(ask("GET", "/v1/cluster_config", broker=broker)["default_topic_partitions"], 4, f"broker {broker}")
    wrong = {"upsert": {"default_topic_partitions": "many"}, "remove": []}
    h.true("default_topic_partitions" in ask("PUT", "/v1/cluster_config", wrong, status=400), "the property is named")


def topic():
    """A topic with three replicas."""
    kafka_topics.create("admin", replicas=3)


def partitions():
    topic()
    found = h.until("the partition has a leader", lambda: next(
        (entry for entry in ask("GET", "/v1/partitions/kafka/admin") if entry["leader_id"] >= 0), None))
    h.equal(len(found["replicas"]), 3, "replicas")


def transfer_leadership():
    topic()
    where = "/v1/partitions/kafka/admin/0"
    leader = h.until("a leader", lambda: ask("GET", where)["leader_id"] + 1 or None) - 1
    target = next(broker for broker in ADMIN if broker != leader)
    ask("POST", f"{where}/transfer_leadership?target={target}", broker=leader)
    h.until("the leader moves", lambda: ask("GET", where, broker=target)["leader_id"] == target)


def users():
    user = {"username": "carol", "password": "secret", "algorithm": "SCRAM-SHA-256"}
    ask("POST", "/v1/security/users", user)
    h.until("the user", lambda: "carol" in ask("GET", "/v1/security/users", broker=1))
    ask("DELETE", "/v1/security/users/carol")
    h.until("no user", lambda: "carol" not in ask("GET", "/v1/security/users", broker=1))


def maintenance():
    ask("PUT", "/v1/brokers/1/maintenance")
    h.until("it drains", lambda: ask("GET", "/v1/brokers/1")["maintenance_status"]["draining"])
    ask("PUT", "/v1/brokers/2/maintenance", status=400)
    ask("DELETE", "/v1/brokers/1/maintenance")
    h.until("it does not drain", lambda: not ask("GET", "/v1/brokers/1")["maintenance_status"]["draining"])


def features():
    found = ask("GET", "/v1/features")
    h.true(found["cluster_version"] > 0 and found["features"], "a version and features")


def node_config():
    for broker in ADMIN:
        found = ask("GET", "/v1/node_config", broker=broker)
        h.equal(found["node_id"], broker, "node_id")
        h.true(found["advertised_kafka_api"], "advertised addresses")


def metrics():
    found = ask("GET", "/public_metrics")
    lines = [line for line in found.splitlines() if line.startswith("redpanda_cluster_brokers")]
    h.equal([float(line.rsplit(" ", 1)[1]) for line in lines], [float(len(ADMIN))], "redpanda_cluster_brokers")


def unknown_broker():
    found = ask("GET", "/v1/brokers/77", status=404)
    h.equal(found["code"], 404, "the body's code")
    ask("PUT", "/v1/brokers/77/decommission", status=404)


h.run({"plain": [ready, brokers, health, cluster_config, cluster_config_change, partitions, transfer_leadership, users,
                 maintenance, features, node_config, metrics, unknown_broker]})
