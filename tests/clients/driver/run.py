"""Runs the checks of all clients, or of those that the command line names, and prints the table."""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import threading
import time

import checks
import install
import server
import table

# The longest that a client's program may take for one mode; its checks have time-outs of their own.
MODE_WITHIN = 900.0

_print = threading.Lock()


def main():
    parser = argparse.ArgumentParser(prog="tests/clients/run.sh", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"one of {', '.join(checks.CLIENTS)}")
    parser.add_argument("--jobs", type=int, default=2, help="clients that run at the same time (default: 2)")
    parser.add_argument("--json", default=os.path.join(install.CACHE, "results.json"), help="where the JSON goes")
    parser.add_argument("--mode", action="append", help="only checks of this mode")
    parser.add_argument("--check", action="append", default=[], help="only this check")
    arguments = parser.parse_args()
    unknown = [client for client in arguments.clients if client not in checks.CLIENTS]
    if unknown:
        parser.error(f"unknown client {unknown[0]}; the clients are {', '.join(checks.CLIENTS)}")
    clients = arguments.clients or list(checks.CLIENTS)
    os.makedirs(os.path.join(install.CACHE, "logs"), exist_ok=True)
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda client: run(client, arguments), clients))
    results = dict(zip(clients, results))
    with open(arguments.json, "w") as out:
        json.dump(results, out, indent=1)
    print(table.render(results, checks))
    failed = table.count(results, "fail", checks)
    passed = table.count(results, "pass", checks)
    print(f"{time.monotonic() - begun:.0f} s; the results are in {arguments.json}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def run(client, arguments):
    """The outcome of every check of a client, `{check: [outcome, detail]}`."""
    wanted = checks.CLIENTS[client]
    modes = [mode for mode in wanted if not arguments.mode or mode in arguments.mode]
    everything = [check for mode in modes for check in wanted[mode]]
    if arguments.check:
        everything = [check for check in everything if check in arguments.check]
    try:
        command = install.install(client)
    except install.CannotInstall as error:
        tell(client, f"cannot be installed: {error}")
        return {check: ["fail", "the client cannot be installed"] for check in everything}
    results = {}
    for mode in modes:
        if mode == "restart-read":
            continue
        names = [check for check in wanted[mode] if check in everything]
        if not names:
            continue
        try:
            results.update(run_mode(client, command, mode, names, everything))
        except (server.CannotServe, install.CannotInstall) as error:
            tell(client, str(error))
            results.update({check: ["fail", str(error)] for check in names})
    for check in everything:
        results.setdefault(check, ["fail", "the client's program did not report it"])
    for check, (outcome, detail) in results.items():
        if outcome == "fail":
            tell(client, f"{check}: {detail}")
    return {check: results[check] for check in everything}


def run_mode(client, command, mode, names, everything):
    log = os.path.join(install.CACHE, "logs", f"{client}-{mode}-server.log")
    open(log, "w").close()
    options = checks.SERVER_OPTIONS.get(client, [])
    if mode != "restart-write":
        with server.Server(mode, log, options) as running:
            return run_program(client, command, mode, names, running)
    # What is committed survives the brokers: they stop, and start again on the same data and ports.
    with server.data_directory() as data:
        more = [*options, "--data", data]
        with server.Server("plain", log, more) as running:
            results = run_program(client, command, mode, names, running)
        if "restart-read" in everything:
            with server.Server("plain", log, more) as running:
                results.update(run_program(client, command, "restart-read", ["restart-read"], running))
    return results


def run_program(client, command, mode, names, running):
    """Starts the client's program and reads its lines."""
    log = os.path.join(install.CACHE, "logs", f"{client}-{mode}.log")
    results = {}
    with open(log, "w") as errors:
        process = subprocess.Popen([*command, mode, *names], stdout=subprocess.PIPE, stderr=errors, text=True,
                                   stdin=subprocess.DEVNULL, env={**os.environ, **running.environment()})
        timer = threading.Timer(MODE_WITHIN, process.kill)
        timer.start()
        for line in process.stdout:
            errors.write(line)
            fields = line.rstrip("\n").split("\t")
            if len(fields) >= 2 and fields[0] in names and fields[1] in ("pass", "fail", "n/a"):
                results[fields[0]] = [fields[1], fields[2] if len(fields) > 2 else ""]
        status = process.wait()
        timer.cancel()
    if status != 0:
        why = f"the program ended with {status}; see {log}"
        for check in names:
            results.setdefault(check, ["fail", why])
    if running.process.poll() is not None:
        tell(client, f"the server ended with {running.process.returncode} during {mode}")
    return results


def tell(client, text):
    with _print:
        print(f"{client}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
