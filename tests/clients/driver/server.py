"""Servers for the checks: `hopwise serve`, or another one that HOPWISE_STAND_IN names."""

import json
import os
import selectors
import shlex
import signal
import subprocess
import tempfile

import install

# A user has one SCRAM credential, so there is a user for each mechanism; PLAIN takes either.
USER, USER_512, PASSWORD = "alice", "bob", "a-secret"
READY_WITHIN = 120.0

# What `hopwise serve` is given for each mode.
OPTIONS = {
    "plain": [],
    "sasl": ["--sasl", f"{USER}:{PASSWORD}", "--sasl", f"{USER_512}:{PASSWORD}:SCRAM-SHA-512"],
    "tls": ["--tls"],
}


class CannotServe(Exception):
    """The server does not start."""


class Server:
    """A server process that is ready."""

    def __init__(self, mode, log, properties=(), more=()):
        stand_in = os.environ.get("HOPWISE_STAND_IN")
        command = shlex.split(stand_in) + [mode] if stand_in else [
            program(), "serve", "--format", "json", *OPTIONS[mode], *settings(properties), *more]
        self.log = open(log, "a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
                                        start_new_session=True)
        try:
            self.served = self._ready()
        except BaseException:
            self.stop()
            raise
        # A client of any listener will do; `external` is the one for clients.
        self.bootstrap = self.served["bootstrap"].get("external") or next(iter(self.served["bootstrap"].values()))
        first = self.bootstrap.split(",")
        self.brokers = {
            broker["id"]: listener["address"]
            for broker in self.served["brokers"] for listener in broker["listeners"]
            if listener["api"] == "kafka" and listener["address"] in first
        }

    def _ready(self):
        """Reads the one JSON object that tells that every broker is ready."""
        text, decoder = b"", json.JSONDecoder()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while selector.select(READY_WITHIN):
                chunk = os.read(self.process.stdout.fileno(), 65536)
                if not chunk:
                    raise CannotServe(f"the server ended with {self.process.wait()}; see {self.log.name}")
                text += chunk
                try:
                    return decoder.raw_decode(text.decode().lstrip())[0]
                except json.JSONDecodeError:
                    continue
        raise CannotServe(f"the server is not ready after {READY_WITHIN:.0f} s; see {self.log.name}")

    def addresses(self, api):
        """The addresses of every broker's first listener of an API, by the broker's id."""
        found = {}
        for broker in self.served["brokers"]:
            for listener in broker["listeners"]:
                if listener["api"] == api:
                    found.setdefault(broker["id"], listener["address"])
        return found

    def environment(self):
        """What a client program is told."""
        def brokers(addresses):
            return ",".join(f"{identity}={address}" for identity, address in sorted(addresses.items()))
        return {
            "HOPWISE_BOOTSTRAP": self.bootstrap,
            "HOPWISE_BROKERS": brokers(self.brokers),
            "HOPWISE_CA": self.served.get("ca") or "",
            **users(),
            "HOPWISE_ADMIN": brokers(self.addresses("admin")),
            "HOPWISE_HTTP_PROXY": brokers(self.addresses("http-proxy")),
            "HOPWISE_SCHEMA_REGISTRY": brokers(self.addresses("schema-registry")),
        }

    def stop(self):
        """Stops it, and tells whether it ended as it should."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        self.log.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        status = self.stop()
        # It stops cleanly when it is asked to.
        if kind is None and status != 0:
            raise CannotServe(f"the server ended with {status} when it was stopped; see {self.log.name}")


def settings(properties):
    """The options that set properties of the cluster."""
    return [word for entry in properties for word in ("--set", entry)]


def users():
    """What a client program is told of users."""
    return {"HOPWISE_USER": USER, "HOPWISE_USER_512": USER_512, "HOPWISE_PASSWORD": PASSWORD}


def program():
    """The program under test: HOPWISE_BIN, or a debug build of the workspace."""
    given = os.environ.get("HOPWISE_BIN")
    if given:
        return given
    target = os.path.dirname(install.CACHE)
    install.once("hopwise", lambda: install.call(
        ["cargo", "build", "--quiet", "--package", "hopwise"], install.ROOT))
    return os.path.join(target, "debug", "hopwise")


def data_directory():
    """A directory that goes away."""
    return tempfile.TemporaryDirectory(prefix="hopwise-clients-")
