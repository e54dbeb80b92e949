"""Places of the simulated network from which `hopwise exec` runs clients, and what clients use there.

The names and ports are those of ../manifests: three ways in to the same brokers. Which broker is behind which name is
nothing that the manifests say; at_place.py asks the brokers.
"""

import dataclasses
import os
import sys

import install
import server

MANIFESTS = os.path.join(install.HERE, "manifests")
STARTER = os.path.join(install.HERE, "driver", "at_place.py")

# The Secret of the brokers' certificates, which holds the authority's too, and where programs find it.
CERTIFICATES, DIRECTORY = "redpanda/redpanda-certificates", "/mnt"


@dataclasses.dataclass(frozen=True)
class Place:
    """A place (an argument of `--from`), the listeners for clients there, and the name of each broker."""

    stands: str
    listener: str
    hosts: tuple
    kafka: int
    admin: int
    http_proxy: int
    schema_registry: int

    def addresses(self, port):
        """The address of each broker, in the order of its names."""
        return [f"{host}:{port}" for host in self.hosts]


PLACES = {
    "node-port": Place("external", "nodeport", tuple(f"node-{n}.nodes.example.com" for n in range(3)),
                       kafka=31092, admin=31644, http_proxy=30082, schema_registry=30081),
    "load-balancer": Place("external", "loadbalancer", tuple(f"redpanda-{n}.kafka.example.com" for n in range(3)),
                           kafka=9092, admin=9644, http_proxy=80, schema_registry=8081),
    # Without TLS the names of pods end with a dot.
    "pod": Place("pod/apps/client", "internal",
                 tuple(f"redpanda-{n}.redpanda.redpanda.svc.cluster.local." for n in range(3)),
                 kafka=10092, admin=9644, http_proxy=8082, schema_registry=8081),
}


def named(place, mode):
    """A place with the names that its brokers have in a mode."""
    found = PLACES[place]
    dotless = tuple(host.rstrip(".") for host in found.hosts)
    return dataclasses.replace(found, hosts=dotless) if mode == "tls" else found


def inputs(mode):
    """The options that name the cluster: its manifests, those of a mode, and the cluster file."""
    names = ("brokers", "node-ports", "load-balancers", "client", mode)
    manifests = [word for name in names for word in ("-f", os.path.join(MANIFESTS, f"{name}.yaml"))]
    return [*manifests, "--cluster", os.path.join(MANIFESTS, "cluster.yaml")]


def placed(place, mode, properties):
    """The command that runs the command that follows at a place, told of its addresses."""
    authority = ["--secret", f"{CERTIFICATES}={DIRECTORY}"] if mode == "tls" else []
    return [server.program(), "exec", *inputs(mode), *authority, "--from", PLACES[place].stands, "--",
            sys.executable, STARTER, place, mode, *server.settings(properties), "--"]


def environment(mode):
    """What a client program is told besides its addresses."""
    return {"HOPWISE_CA": f"{DIRECTORY}/ca.crt" if mode == "tls" else "", **server.users()}
