"""Installs each client from its ordinary registry, at the version that its directory pins, below target/clients.

What the registries' programs need themselves (Go, a JDK and Maven, Node.js, Python's venv, curl) comes from the Debian
packages if it is missing. Cargo is there: it builds the server.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "clients")
BIN = os.path.join(CACHE, "bin")
PYTHON = os.path.join(CACHE, "python", "bin", "python")

GO = ("franz-go", "sarama", "kafka-go", "franz-go-registry")
PYTHON_CLIENTS = ("confluent-kafka", "kafka-python", "aiokafka", "confluent-registry")

# The Debian package of each program that is needed.
PACKAGES = {
    "go": "golang-go", "javac": "default-jdk-headless", "mvn": "maven", "node": "nodejs", "npm": "npm", "kcat": "kcat",
    "curl": "curl",
}

_apt = threading.Lock()
_locks = {}
_locks_lock = threading.Lock()


class CannotInstall(Exception):
    """A client that cannot be installed: the run fails."""


def install(client):
    """Installs a client, and returns the command that starts its program."""
    directory = os.path.join(HERE, client)
    os.makedirs(BIN, exist_ok=True)
    if client in PYTHON_CLIENTS:
        once("python", install_python)
        return [PYTHON, os.path.join(directory, "client.py")]
    if client in GO:
        return [once(client, lambda: install_go(client, directory))]
    if client == "kafka-clients":
        return once(client, lambda: install_java(directory))
    if client == "kafkajs":
        return once(client, lambda: install_node(directory))
    if client == "rskafka":
        return [once(client, lambda: install_rust(client, directory))]
    if client == "kcat":
        need("kcat")
        return [sys.executable, os.path.join(directory, "client.py")]
    need("curl")
    return [sys.executable, os.path.join(directory, "client.py")]


def once(key, installer):
    """What the installer gives, which runs once for each key, however many clients ask for it."""
    with _locks_lock:
        entry = _locks.setdefault(key, {"lock": threading.Lock()})
    with entry["lock"]:
        if "value" not in entry:
            entry["value"] = installer()
        return entry["value"]


def install_python():
    wanted = os.path.join(HERE, "driver", "requirements.txt")
    mark = os.path.join(CACHE, "python", "requirements.txt")
    if same(wanted, mark):
        return
    if importlib.util.find_spec("ensurepip") is None:
        install_apt("python3-venv")
    venv = os.path.join(CACHE, "python")
    call([sys.executable, "-m", "venv", "--clear", venv])
    call([PYTHON, "-m", "pip", "install", "--quiet", "--no-cache-dir", "-r", wanted])
    shutil.copy(wanted, mark)


def install_go(client, directory):
    # A Go that is older than what a go.mod asks for gets that version from the module proxy by itself.
    need("go")
    program = os.path.join(BIN, client)
    environment = {
        "GOMODCACHE": os.path.join(CACHE, "go", "modules"), "GOCACHE": os.path.join(CACHE, "go", "build"),
        "GOFLAGS": "-buildvcs=false -modcacherw", "CGO_ENABLED": "0",
    }
    call(["go", "build", "-o", program, "."], directory, environment)
    return program


def install_java(directory):
    need("javac", "mvn")
    jars, classes = os.path.join(CACHE, "java", "jars"), os.path.join(CACHE, "java", "classes")
    pom, mark = os.path.join(directory, "pom.xml"), os.path.join(CACHE, "java", "pom.xml")
    if not same(pom, mark):
        shutil.rmtree(jars, ignore_errors=True)
        call(["mvn", "--batch-mode", "--quiet", f"-Dmaven.repo.local={os.path.join(CACHE, 'java', 'repository')}",
              "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], directory)
        shutil.copy(pom, mark)
    sources = [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if name.endswith(".java")]
    shutil.rmtree(classes, ignore_errors=True)
    call(["javac", "-nowarn", "-d", classes, "-cp", os.path.join(jars, "*"), *sources])
    return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{jars}/*", "Client"]


def install_node(directory):
    need("node", "npm")
    place = os.path.join(CACHE, "kafkajs")
    lock, mark = os.path.join(directory, "package-lock.json"), os.path.join(place, "node_modules", "lock.json")
    os.makedirs(place, exist_ok=True)
    if not same(lock, mark):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(directory, name), place)
        call(["npm", "ci", "--no-audit", "--no-fund", "--silent", "--cache", os.path.join(CACHE, "npm")], place)
        shutil.copy(lock, mark)
    for name in os.listdir(directory):
        if name.endswith(".js"):
            shutil.copy(os.path.join(directory, name), place)
    return ["node", os.path.join(place, "client.js")]


def install_rust(client, directory):
    target = os.path.join(CACHE, "rust")
    call(["cargo", "build", "--quiet", "--locked", "--manifest-path", os.path.join(directory, "Cargo.toml"),
          "--target-dir", target])
    return os.path.join(target, "debug", f"hopwise-clients-{client}")


def need(*programs):
    """Installs the Debian packages of those programs that are missing."""
    for program in programs:
        if not shutil.which(program):
            install_apt(PACKAGES[program])
            if not shutil.which(program):
                raise CannotInstall(f"apt-get installed {PACKAGES[program]}, but there is no program {program}")


def install_apt(package):
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    # One at a time: apt-get does not wait for another one.
    with _apt:
        once("apt-get update", lambda: call(["apt-get", "update", "--quiet"], environment=environment))
        call(["apt-get", "install", "--yes", "--no-install-recommends", package], environment=environment)


def same(wanted, mark):
    """Whether a mark of an earlier installation holds what is wanted now."""
    if not os.path.exists(mark):
        return False
    with open(wanted) as a, open(mark) as b:
        return a.read() == b.read()


def call(command, directory=None, environment=None):
    try:
        ended = subprocess.run(command, cwd=directory, env={**os.environ, **(environment or {})}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               timeout=1500)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(f"{' '.join(command)}: {error}") from error
    if ended.returncode != 0:
        raise CannotInstall(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout[-3000:]}")
