"""librdkafka's mock cluster of three brokers, until SIGTERM: prints its addresses."""

import signal

from confluent_kafka import Producer

# The client that owns the cluster also uses it, so that its metadata tell the addresses.
owner = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "replaced-by-the-mock"})
brokers = owner.list_topics(timeout=30).brokers.values()
print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
