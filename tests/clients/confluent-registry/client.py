"""confluent-kafka's Schema Registry client and serializers."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "driver"))
import curl  # noqa: E402
import harness as h  # noqa: E402
from confluent_kafka import Consumer, Producer, TopicPartition, OFFSET_BEGINNING  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient  # noqa: E402
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer  # noqa: E402
from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: E402
from confluent_kafka.serialization import MessageField, SerializationContext  # noqa: E402

REGISTRY = curl.addresses("HOPWISE_SCHEMA_REGISTRY")
FIRST = '{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}'
WIDER = ('{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},'
         '{"name":"note","type":"string","default":""}]}')
OTHER = '{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}'
JSON_SCHEMA = '{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}'
PROTOBUF = 'syntax = "proto3"; package shop; message Order { int64 id = 1; }'


def client(broker=0):
    return SchemaRegistryClient({"url": f"http://{REGISTRY[broker]}"})


def avro(text):
    return Schema(text, "AVRO")


def refused(call, code):
    try:
        call()
    except SchemaRegistryError as error:
        h.equal(error.error_code, code, f"error ({error})")
        return
    raise AssertionError(f"no error {code}")


def types():
    status, found = curl.call("GET", f"http://{REGISTRY[0]}/schemas/types")
    h.equal((status, sorted(found)), (200, ["AVRO", "JSON", "PROTOBUF"]), "types")


def register():
    first = client().register_schema("cr-register", avro(FIRST))
    h.true(first > 0, f"id {first}")
    h.equal(client(1).register_schema("cr-register", avro(FIRST)), first, "the id of the same schema, elsewhere")
    h.equal(client(2).register_schema("cr-register-too", avro(FIRST)), first, "the id of the same schema by another name")
    h.true("cr-register" in client(1).get_subjects(), "the subject is listed")


def look_up():
    identity = client().register_schema("cr-look-up", avro(FIRST))
    found = client(1).lookup_schema("cr-look-up", avro(FIRST))
    h.equal((found.schema_id, found.version), (identity, 1), "id and version")
    refused(lambda: client().lookup_schema("cr-look-up", avro(OTHER)), 40403)
    refused(lambda: client().lookup_schema("cr-nowhere", avro(FIRST)), 40401)


def versions():
    client().register_schema("cr-versions", avro(FIRST))
    client().register_schema("cr-versions", avro(WIDER))
    h.equal(client(1).get_versions("cr-versions"), [1, 2], "versions")
    h.equal(client(1).get_latest_version("cr-versions").version, 2, "the latest")
    refused(lambda: client().get_version("cr-versions", 9), 40402)


def by_id():
    identity = client().register_schema("cr-by-id", avro(WIDER))
    h.equal(client(2).get_schema(identity).schema_str.replace(" ", ""), WIDER, "the schema")
    refused(lambda: client().get_schema(999999), 40403)


def compatible():
    client().register_schema("cr-compatible", avro(FIRST))
    h.equal(client().test_compatibility("cr-compatible", avro(WIDER)), True, "a field with a default")


def incompatible():
    client().register_schema("cr-incompatible", avro(FIRST))
    h.equal(client().test_compatibility("cr-incompatible", avro(OTHER)), False, "a field of another type")
    refused(lambda: client().register_schema("cr-incompatible", avro(OTHER)), 409)
    refused(lambda: client().register_schema("cr-incompatible", avro('{"type":"nothing"}')), 42201)


def compatibility_level():
    client().register_schema("cr-level", avro(FIRST))
    h.equal(client().get_compatibility(), "BACKWARD", "the global level")
    client().set_compatibility("cr-level", "NONE")
    h.equal(client(1).get_compatibility("cr-level"), "NONE", "the subject's level")
    client().register_schema("cr-level", avro(OTHER))
    h.equal(client().get_versions("cr-level"), [1, 2], "versions")


def delete_version():
    client().register_schema("cr-delete-version", avro(FIRST))
    client().register_schema("cr-delete-version", avro(WIDER))
    h.equal(client().delete_version("cr-delete-version", 1), 1, "the version")
    h.equal(client(1).get_versions("cr-delete-version"), [2], "versions that are left")


def delete_subject():
    client().register_schema("cr-delete", avro(FIRST))
    h.equal(client().delete_subject("cr-delete"), [1], "versions")
    h.true("cr-delete" not in client(1).get_subjects(), "the subject is gone")
    h.true("cr-delete" in client(1).get_subjects(deleted=True), "it is there among the deleted")
    client().delete_subject("cr-delete", permanent=True)
    h.true("cr-delete" not in client(1).get_subjects(deleted=True), "it is gone for good")


def json_schema():
    identity = client().register_schema("cr-json", Schema(JSON_SCHEMA, "JSON"))
    h.equal(client(1).get_schema(identity).schema_type, "JSON", "type")


def protobuf():
    identity = client().register_schema("cr-protobuf", Schema(PROTOBUF, "PROTOBUF"))
    found = client(1).get_schema(identity)
    h.equal(found.schema_type, "PROTOBUF", "type")
    h.true("int64 id = 1" in found.schema_str, f"the schema {found.schema_str}")


def serialized_records():
    topic = "cr-orders"
    admin = AdminClient({"bootstrap.servers": h.BOOTSTRAP})
    admin.create_topics([NewTopic(topic, 1, h.REPLICAS)])[topic].result(h.PATIENCE)
    context = SerializationContext(topic, MessageField.VALUE)
    serialize = AvroSerializer(client(), FIRST)
    producer, failures = Producer({"bootstrap.servers": h.BOOTSTRAP}), []
    for i in range(10):
        producer.produce(topic, serialize({"id": i}, context), on_delivery=lambda error, _: error and failures.append(error))
    producer.flush(h.PATIENCE)
    h.equal(failures, [], "failures")
    consumer = Consumer({"bootstrap.servers": h.BOOTSTRAP, "group.id": "cr-orders"})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    # Another client, of another broker, which has to ask for the schema by its id.
    deserialize, got = AvroDeserializer(client(1), WIDER), []

    def all_read():
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            got.append(deserialize(message.value(), context))
        return len(got) == 10
    h.until("all records", all_read)
    consumer.close()
    h.equal(got, [{"id": i, "note": ""} for i in range(10)], "values")


h.run({"plain": [types, register, look_up, versions, by_id, compatible, incompatible, compatibility_level,
                 delete_version, delete_subject, json_schema, protobuf, serialized_records]})
