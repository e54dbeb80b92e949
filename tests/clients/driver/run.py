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

# Clients that are installed at the same time.
INSTALLATIONS = 2

# What the second reads, the first wrote.
RESTART = ("restart-write", "restart-read")

_print = threading.Lock()


def main():
    parser = argparse.ArgumentParser(prog="tests/clients/run.sh", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"one of {', '.join(checks.CLIENTS)}")
    parser.add_argument("--jobs", type=int, default=4, help="servers that run at the same time (default: 4)")
    parser.add_argument("--json", default=os.path.join(install.CACHE, "results.json"), help="where the JSON goes")
    parser.add_argument("--mode", action="append", help="only checks of this mode")
    parser.add_argument("--check", action="append", default=[], help="only this check")
    arguments = parser.parse_args()
    unknown = [client for client in arguments.clients if client not in checks.CLIENTS]
    if unknown:
        parser.error(f"unknown client {unknown[0]}; the clients are {', '.join(checks.CLIENTS)}")
    clients = arguments.clients or list(checks.CLIENTS)
    wanted = {client: chosen(client, arguments) for client in clients}
    if not any(wanted.values()):
        parser.error("none of these clients has a check of that name and mode")
    os.makedirs(os.path.join(install.CACHE, "logs"), exist_ok=True)
    begun = time.monotonic()
    results = run_all(wanted, arguments.jobs)
    with open(arguments.json, "w") as out:
        json.dump(results, out, indent=1)
    print(table.render(results, checks))
    print(f"{time.monotonic() - begun:.0f} s; the results are in {arguments.json}")
    print(table.counts(results, checks))
    return 1 if table.count(results, "fail", checks) else 0


def chosen(client, arguments):
    """The checks of a client that are asked for, by mode: `{mode: [check]}`."""
    found = {}
    for mode, names in checks.CLIENTS[client].items():
        names = [name for name in names if not arguments.check or name in arguments.check]
        if names and (not arguments.mode or mode in arguments.mode):
            found[mode] = names
    return found


def run_all(wanted, jobs):
    """The outcome of every check that is wanted, `{client: {check: [outcome, detail]}}`.

    A client's modes start once it is installed, while others are being installed, each against a server of its own.
    """
    outcomes = {client: {} for client in wanted}
    with (concurrent.futures.ThreadPoolExecutor(INSTALLATIONS) as installers,
          concurrent.futures.ThreadPoolExecutor(jobs) as runners):
        first = [client for client in checks.LONGEST_INSTALLATIONS if client in wanted]
        order = [*first, *(client for client in wanted if client not in first)]
        installing = {installers.submit(install.install, client): client for client in order if wanted[client]}
        running = {}
        for installed in concurrent.futures.as_completed(installing):
            client = installing[installed]
            try:
                command = installed.result()
            except install.CannotInstall as error:
                tell(client, f"cannot be installed: {error}")
                fail_all(outcomes[client], wanted[client].values(), "the client cannot be installed")
                continue
            for modes in together(wanted[client]):
                running[runners.submit(run_modes, client, command, modes)] = client
        for ended in concurrent.futures.as_completed(running):
            outcomes[running[ended]].update(ended.result())
    # In the order of the table, whatever ended first.
    return {client: {name: outcomes[client][name] for names in wanted[client].values() for name in names}
            for client in wanted if wanted[client]}


def together(modes):
    """The modes that need the same data are one piece of work, every other one is its own."""
    restart = {mode: names for mode, names in modes.items() if mode in RESTART}
    return [{mode: names} for mode, names in modes.items() if mode not in RESTART] + ([restart] if restart else [])


def run_modes(client, command, modes):
    """The outcome of every check of these modes."""
    results = {}
    try:
        results.update(run_server(client, command, modes))
    except (server.CannotServe, install.CannotInstall) as error:
        tell(client, str(error))
        fail_all(results, modes.values(), str(error))
    fail_all(results, modes.values(), "the client's program did not report it")
    for check, (outcome, detail) in results.items():
        if outcome == "fail":
            tell(client, f"{check}{' (informative)' if check in checks.INFORMATIVE else ''}: {detail}")
    return results


def fail_all(results, groups, why):
    """Whatever has no outcome yet has failed."""
    for names in groups:
        for check in names:
            results.setdefault(check, ["fail", why])


def run_server(client, command, modes):
    """Starts the server that these modes need and runs the client's program against it."""
    first = next(iter(modes))
    log = os.path.join(install.CACHE, "logs", f"{client}-{first}-server.log")
    open(log, "w").close()
    options = checks.SERVER_OPTIONS.get(client, [])
    if first not in RESTART:
        with server.Server(first, log, options) as running:
            return run_program(client, command, first, modes[first], running)
    results = {}
    # What is committed survives the brokers: they stop, and start again on the same data and ports.
    with server.data_directory() as data:
        for mode, names in modes.items():
            with server.Server("plain", log, [*options, "--data", data]) as running:
                results.update(run_program(client, command, mode, names, running))
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
        since = time.monotonic()
        for line in process.stdout:
            now = time.monotonic()
            errors.write(f"{now - since:6.1f} s  {line}")
            errors.flush()
            since = now
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
