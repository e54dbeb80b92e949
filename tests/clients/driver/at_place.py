"""Starts a client's program at a place of the simulated network: `at_place.py PLACE MODE [--set KEY=VALUE]... -- COMMAND...`.

It runs inside, as the command of `hopwise exec`. The program is told the addresses of the place (places.py) as the manifests
have them, by the brokers' ids. For the ids the Admin API is asked at each broker's name, and it must say that this broker
advertises the name and no other address to Kafka clients and to those of the HTTP Proxy.
"""

import argparse
import json
import os
import urllib.request

import places

# For one request, in seconds.
PATIENCE = 30.0


def main():
    parser = argparse.ArgumentParser(prog="at_place.py", description=__doc__)
    parser.add_argument("place", choices=places.PLACES)
    parser.add_argument("mode")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the cluster's configuration")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    place = places.named(arguments.place, arguments.mode)
    environment = addresses(place)
    if arguments.set:
        configure(place, dict(entry.split("=", 1) for entry in arguments.set))
    os.execvpe(arguments.command[0], arguments.command, {**os.environ, **environment})


def addresses(place):
    """What the program is told of addresses (harness.py)."""
    brokers = [ask(address, "/v1/node_config") for address in place.addresses(place.admin)]
    ids = [broker["node_id"] for broker in brokers]
    if len(set(ids)) < len(ids):
        raise SystemExit(f"two names lead to one broker: {dict(zip(place.hosts, ids))}")
    for api, port in (("kafka", place.kafka), ("pandaproxy", place.http_proxy)):
        for broker, wanted in zip(brokers, place.addresses(port)):
            advertised = [f"{entry['address']}:{entry['port']}" for entry in broker[f"advertised_{api}_api"]
                          if entry["name"] == place.listener]
            if advertised != [wanted]:
                raise SystemExit(f"broker {broker['node_id']} advertises {advertised} ({api}), expected {wanted}")

    def by_id(port):
        return ",".join(f"{identity}={address}" for identity, address in sorted(zip(ids, place.addresses(port))))
    return {
        "HOPWISE_BOOTSTRAP": ",".join(place.addresses(place.kafka)),
        "HOPWISE_BROKERS": by_id(place.kafka),
        "HOPWISE_ADMIN": by_id(place.admin),
        "HOPWISE_HTTP_PROXY": by_id(place.http_proxy),
        "HOPWISE_SCHEMA_REGISTRY": by_id(place.schema_registry),
    }


def configure(place, properties):
    """Changes the cluster's configuration."""
    change = {"upsert": properties, "remove": []}
    ask(place.addresses(place.admin)[0], "/v1/cluster_config", "PUT", change)


def ask(address, path, method="GET", body=None):
    """What the Admin API answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, {"Content-Type": "application/json"}, method=method)
    # Whatever proxy the machine's environment names is not there.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=PATIENCE) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
