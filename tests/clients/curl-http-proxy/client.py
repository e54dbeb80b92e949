"""The HTTP Proxy by curl (redpanda.md 3.3)."""

import base64
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "driver"))
import curl  # noqa: E402
import harness as h  # noqa: E402
import kafka_topics  # noqa: E402

PROXY = curl.addresses("HOPWISE_HTTP_PROXY")
ADMIN = curl.addresses("HOPWISE_ADMIN")
CONTROL = "application/vnd.kafka.v2+json"
JSON = "application/vnd.kafka.json.v2+json"
BINARY = "application/vnd.kafka.binary.v2+json"


def ask(method, path, body=None, content=CONTROL, accept=CONTROL, broker=0, status=200):
    headers = [f"Accept: {accept}"] + ([f"Content-Type: {content}"] if body is not None else [])
    url = path if path.startswith("http") else f"http://{PROXY[broker]}{path}"
    got, answer = curl.call(method, url, body, headers)
    h.equal(got, status, f"{method} {path} ({h.shorten(answer)})")
    return answer


def produce(topic, values, content=JSON):
    """Sends records to partition 0 and returns their offsets."""
    kafka_topics.create(topic)
    records = {"records": [{"value": value, "partition": 0} for value in values]}
    answers = []

    def sent():
        got, answer = curl.call("POST", f"http://{PROXY[0]}/topics/{topic}", records,
                                [f"Content-Type: {content}", f"Accept: {CONTROL}"])
        answers[:] = [got, answer]
        return got == 200 and not any(offset.get("error_code") for offset in answer["offsets"])
    h.until(f"records of {topic} are taken ({answers})", sent)
    return [offset["offset"] for offset in answers[1]["offsets"]]


def brokers():
    h.equal(sorted(ask("GET", "/brokers")["brokers"]), sorted(PROXY), "brokers")


def topics():
    produce("px-topics", [1])
    h.true("px-topics" in ask("GET", "/topics"), "the topic is listed")


def produce_json():
    first = produce("px-json", [{"n": 1}])[0]
    got = ask("GET", f"/topics/px-json/partitions/0/records?offset={first}&timeout=1000&max_bytes=100000", accept=JSON)
    h.equal([(entry["topic"], entry["value"], entry["partition"], entry["offset"]) for entry in got],
            [("px-json", {"n": 1}, 0, first)], "records")


def produce_binary():
    value = base64.b64encode(b"\x00\xff\x01").decode()
    first = produce("px-binary", [value], BINARY)[0]
    got = ask("GET", f"/topics/px-binary/partitions/0/records?offset={first}&timeout=1000&max_bytes=100000",
              accept=BINARY)
    h.equal([entry["value"] for entry in got], [value], "values")


def fetch():
    for i in range(5):
        produce("px-fetch", [i])
    got = ask("GET", "/topics/px-fetch/partitions/0/records?offset=2&timeout=1000&max_bytes=100000", accept=JSON)
    h.equal([entry["offset"] for entry in got], list(range(2, 2 + len(got))), "offsets")
    h.true(got and got[0]["value"] == 2, "the first value")


def made(group):
    body = {"name": "one", "format": "json", "auto.offset.reset": "earliest", "auto.commit.enable": "false"}
    return ask("POST", f"/consumers/{group}", body)


def subscribed(group, topic, values):
    produce(topic, values)
    base = made(group)["base_uri"]
    ask("POST", f"{base}/subscription", {"topics": [topic]}, status=204)
    return base


def read(base, count):
    got = []

    def more():
        got.extend(ask("GET", f"{base}/records?timeout=1000&max_bytes=100000", accept=JSON))
        return len(got) >= count
    h.until(f"{count} records", more)
    return got


def consumer():
    base = subscribed("px-group", "px-consumer", [1, 2, 3])
    h.equal([entry["value"] for entry in read(base, 3)], [1, 2, 3], "values")
    h.equal(ask("POST", "/consumers/px-group", {"name": "one", "format": "json"}, status=409)["error_code"], 40902,
            "the same name again")
    ask("DELETE", base, status=204)
    h.equal(ask("GET", f"{base}/records", accept=JSON, status=404)["error_code"], 40403, "after its deletion")


def consumer_elsewhere():
    base = subscribed("px-elsewhere", "px-elsewhere", [1])
    path = "/" + base.split("/", 3)[3]
    other = next(broker for broker, address in PROXY.items() if address not in base)
    answer = ask("GET", f"{path}/records", accept=JSON, broker=other, status=404)
    h.equal(answer["error_code"], 40403, "another broker does not know the instance")
    ask("DELETE", base, status=204)


def consumer_offsets():
    base = subscribed("px-offsets", "px-offsets", [1, 2, 3])
    read(base, 3)
    partition = {"topic": "px-offsets", "partition": 0}
    ask("POST", f"{base}/offsets", {"partitions": [{**partition, "offset": 2}]}, status=204)
    found = ask("GET", f"{base}/offsets", {"partitions": [partition]})["offsets"]
    h.equal([(entry["partition"], entry["offset"]) for entry in found], [(0, 2)], "committed")
    ask("DELETE", base, status=204)


def wrong_content_type():
    h.equal(ask("POST", "/topics/px-any", {"records": []}, content="text/plain", status=415)["error_code"], 415, "code")
    h.equal(ask("GET", "/topics/px-any/partitions/0/records?offset=0&timeout=1&max_bytes=1", accept="text/plain",
                status=406)["error_code"], 406, "code")


def unknown_topic():
    answer = ask("GET", "/topics/px-nowhere/partitions/0/records?offset=0&timeout=100&max_bytes=1000", accept=JSON,
                 status=404)
    h.true(answer["error_code"] in (40401, 40402), f"error {answer}")


h.run({"plain": [brokers, topics, produce_json, produce_binary, fetch, consumer, consumer_elsewhere, consumer_offsets,
                 wrong_content_type, unknown_topic]})
