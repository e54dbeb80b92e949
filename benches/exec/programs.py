"""The programs of exec.sh: a server, and a client that measures. Standard library only; no word of the simulation."""

import socket
import statistics
import sys
import threading
import time

PIECE = 1 << 20


def serve():
    """Echoes on 8007, discards on 8009 (and tells how much it got), sends without end on 8019."""
    tasks = [threading.Thread(target=accept, args=(port, answer)) for port, answer in
             [(8007, echo), (8009, discard), (8019, send_without_end)]]
    for task in tasks:
        task.start()


def accept(port, answer):
    listener = socket.create_server(("0.0.0.0", port))
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer_one, args=(connection, answer)).start()


def answer_one(connection, answer):
    try:
        answer(connection)
    except OSError:
        pass  # The client is gone.
    connection.close()


def echo(connection):
    connection.sendall(b"real\n")
    buffer = bytearray(PIECE)
    while length := connection.recv_into(buffer):
        connection.sendall(memoryview(buffer)[:length])


def discard(connection):
    buffer, total = bytearray(PIECE), 0
    while length := connection.recv_into(buffer):
        total += length
    connection.sendall(str(total).encode())


def send_without_end(connection):
    piece = bytes(PIECE)
    while True:
        connection.sendall(piece)


def connect(host, port):
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def greeted(host, port):
    """A connection to an echo, which greets with a line."""
    connection = connect(host, port)
    while connection.recv(1) != b"\n":
        pass
    return connection


def print_latencies(latencies_ns):
    cuts = statistics.quantiles(latencies_ns, n=100)
    print(round(cuts[49]), round(cuts[98]), len(latencies_ns))


def round_trips(host, port, count):
    """Time of 32 bytes there and back, in ns: median, 99th percentile, count."""
    connection, message, latencies = greeted(host, port), bytes(32), []
    for _ in range(count):
        start = time.perf_counter_ns()
        connection.sendall(message)
        left = len(message)
        while left:
            left -= len(connection.recv(left))
        latencies.append(time.perf_counter_ns() - start)
    print_latencies(latencies[count // 10:])


def connects(host, port, count):
    """Time until a connection is there (SYN, SYN-ACK), in ns: median, 99th percentile, count."""
    latencies = []
    address = (socket.gethostbyname(host), port)
    for _ in range(count):
        with socket.socket() as connection:
            start = time.perf_counter_ns()
            connection.connect(address)
            latencies.append(time.perf_counter_ns() - start)
        time.sleep(0.003)  # The end of this connection is not to be in the way of the next one.
    print_latencies(latencies[count // 10:])


def upload(host, port, seconds):
    """MB/s to a server that discards, until it says that it has them all."""
    connection, piece, total = connect(host, port), bytes(PIECE), 0
    start = time.perf_counter()
    while time.perf_counter() < start + seconds:
        connection.sendall(piece)
        total += PIECE
    connection.shutdown(socket.SHUT_WR)
    assert int(connection.recv(64)) == total, "the server got something else"
    print(round(total / (time.perf_counter() - start) / 1e6, 1))


def download(host, port, seconds):
    """MB/s from a server that sends without end."""
    connection, buffer, total = connect(host, port), bytearray(PIECE), 0
    start = time.perf_counter()
    while time.perf_counter() < start + seconds:
        total += connection.recv_into(buffer)
    print(round(total / (time.perf_counter() - start) / 1e6, 1))


def both_ways(host, port, seconds):
    """MB/s to an echo and back at once: what comes back."""
    connection, end = greeted(host, port), time.perf_counter() + seconds

    def send():
        piece = bytes(PIECE)
        while time.perf_counter() < end:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    start, buffer, total = time.perf_counter(), bytearray(PIECE), 0
    sender.start()
    while length := connection.recv_into(buffer):
        total += length
    print(round(total / (time.perf_counter() - start) / 1e6, 1))


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "serve":
        serve()
    else:
        host, port, amount = rest
        {"round-trips": round_trips, "connects": connects, "upload": upload, "download": download,
         "both-ways": both_ways}[command](host, int(port), int(amount))
