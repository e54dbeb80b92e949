"""What every client program in Python shares: it runs its checks and prints a line for each.

A program is started with a mode (plain, sasl, tls, restart-write, restart-read) and prints
``CHECK<TAB>pass|fail|n/a<TAB>DETAIL`` for each check of that mode. What it needs is in the environment:

HOPWISE_BOOTSTRAP  addresses to start from, ``host:port,host:port``
HOPWISE_BROKERS    every broker's id and address, ``0=host:port,1=host:port``
HOPWISE_ADMIN, HOPWISE_HTTP_PROXY, HOPWISE_SCHEMA_REGISTRY  the same of the other APIs
HOPWISE_CA         the authority's certificate (tls)
HOPWISE_USER, HOPWISE_PASSWORD  a user that may log in by PLAIN and SCRAM-SHA-256 (sasl)
HOPWISE_USER_512   a user with the same password that may log in by SCRAM-SHA-512 (sasl)
"""

import asyncio
import inspect
import os
import sys
import time
import traceback

BOOTSTRAP = os.environ.get("HOPWISE_BOOTSTRAP", "")
USER = os.environ.get("HOPWISE_USER", "")
USER_512 = os.environ.get("HOPWISE_USER_512", "")
PASSWORD = os.environ.get("HOPWISE_PASSWORD", "")
CA = os.environ.get("HOPWISE_CA", "")
BROKERS = dict(
    (int(entry.split("=")[0]), entry.split("=")[1])
    for entry in os.environ.get("HOPWISE_BROKERS", "").split(",")
    if entry
)
PARTITIONS = 6
REPLICAS = min(3, max(1, len(BROKERS)))
RECORDS = 1000
# Now, so that no retention takes the records away.
BASE_MS = int(time.time() * 1000) - 100_000
PATIENCE = 30.0


def user(mechanism):
    """The user that may log in by a mechanism."""
    return USER_512 if mechanism.upper() == "SCRAM-SHA-512" else USER


class NotApplicable(Exception):
    """The client has no such feature."""


def record(i):
    """Key, value, headers and timestamp of the record number i."""
    value = b"value-%d-" % i + bytes(j % 256 for j in range(i % 300))
    return b"key-%d" % i, value, [("number", b"%d" % i), ("bytes", b"\x00\xff" + bytes([i % 256]))], BASE_MS + i


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: got {shorten(got)}, expected {shorten(wanted)}")


def true(sound, what):
    if not sound:
        raise AssertionError(what)


def shorten(value):
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "..."


def until(what, look, patience=PATIENCE):
    """Calls look until it returns something true; fails with what it said last."""
    end = time.monotonic() + patience
    last = None
    while time.monotonic() < end:
        last = look()
        if last:
            return last
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {patience:.0f} s (last: {last!r})")


def name(check):
    return check.replace("_", "-")


def run(modes, timeout=120):
    """Runs the checks of the mode that the command line names; each is a function, or (name, reason) if n/a."""
    mode = sys.argv[1] if len(sys.argv) > 1 else "plain"
    only = sys.argv[2:]
    for check in modes.get(mode, []):
        if isinstance(check, tuple):
            say(check[0], "n/a", check[1])
            continue
        title = name(check.__name__)
        if only and title not in only:
            continue
        try:
            if inspect.iscoroutinefunction(check):
                detail = asyncio.run(asyncio.wait_for(check(), timeout))
            else:
                detail = check()
            say(title, "pass", detail or "")
        except NotApplicable as reason:
            say(title, "n/a", str(reason))
        except BaseException as error:  # noqa: BLE001: whatever a client throws is a failed check
            if os.environ.get("HOPWISE_TRACE"):
                traceback.print_exc()
            say(title, "fail", f"{type(error).__name__}: {error}")
            if isinstance(error, KeyboardInterrupt):
                raise


def say(check, outcome, detail):
    detail = " ".join(str(detail).split())[:500]
    print(f"{check}\t{outcome}\t{detail}", flush=True)
