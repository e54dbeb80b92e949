"""Topics for the checks of the HTTP APIs, which cannot create any: one CreateTopics request over a plain socket."""

import os
import socket
import struct

CREATE_TOPICS, VERSION = 19, 3
TOPIC_ALREADY_EXISTS = 36


def text(value):
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded


def read(stream, count):
    got = b""
    while len(got) < count:
        part = stream.recv(count - len(got))
        if not part:
            raise AssertionError("the broker closed the connection")
        got += part
    return got


def create(name, partitions=1, replicas=1):
    """Creates a topic, or finds that it exists."""
    host, port = os.environ["HOPWISE_BOOTSTRAP"].split(",")[0].rsplit(":", 1)
    topic = text(name) + struct.pack(">ih", partitions, replicas) + struct.pack(">ii", 0, 0)
    body = struct.pack(">i", 1) + topic + struct.pack(">i?", 10_000, False)
    frame = struct.pack(">hhi", CREATE_TOPICS, VERSION, 1) + text("checks") + body
    with socket.create_connection((host, int(port)), timeout=30) as stream:
        stream.sendall(struct.pack(">i", len(frame)) + frame)
        length, = struct.unpack(">i", read(stream, 4))
        answer = read(stream, length)
    # Correlation id, throttle time, the number of topics, the topic's name, its error.
    name_length, = struct.unpack_from(">h", answer, 12)
    error, = struct.unpack_from(">h", answer, 14 + name_length)
    if error not in (0, TOPIC_ALREADY_EXISTS):
        raise AssertionError(f"CreateTopics of {name} is answered with error {error}")
