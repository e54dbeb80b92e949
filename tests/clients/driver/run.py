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
import places
import server
import table

# The longest that a client's program may take for one mode; its checks have time-outs of their own.
MODE_WITHIN = 900.0

# Clients that are installed at the same time.
INSTALLATIONS = 2

# The way to brokers that `hopwise serve` puts on the machine; every other way is a place of `hopwise exec`.
SERVE = "serve"

_print = threading.Lock()


def main():
    parser = argparse.ArgumentParser(prog="tests/clients/run.sh", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"one of {', '.join(checks.CLIENTS)}")
    parser.add_argument("--jobs", type=int, default=8, help="clusters that run at the same time (default: 8)")
    parser.add_argument("--json", help="where the JSON goes (default: target/clients/results.json or results-through.json)")
    parser.add_argument("--mode", action="append", help="only checks of this mode")
    parser.add_argument("--check", action="append", default=[], help="only this check")
    parser.add_argument("--through", action="append", default=[], choices=[*places.PLACES, "all"],
                        help="run the clients by `hopwise exec` at this place instead of against `hopwise serve`")
    parser.add_argument("--routes", action="store_true",
                        help="only the checks whose outcome depends on the way to the brokers")
    arguments = parser.parse_args()
    unknown = [client for client in arguments.clients if client not in checks.CLIENTS]
    if unknown:
        parser.error(f"unknown client {unknown[0]}; the clients are {', '.join(checks.CLIENTS)}")
    ways = ways_of(arguments.through)
    clients = arguments.clients or list(checks.CLIENTS)
    wanted = {client: chosen(client, arguments) for client in clients}
    if not any(wanted.values()):
        parser.error("none of these clients has a check of that name and mode")
    os.makedirs(os.path.join(install.CACHE, "logs"), exist_ok=True)
    begun = time.monotonic()
    results = run_all(wanted, ways, arguments.jobs)
    told = results[SERVE] if ways == [SERVE] else results
    name = "results.json" if ways == [SERVE] else "results-through.json"
    path = arguments.json or os.path.join(install.CACHE, name)
    with open(path, "w") as out:
        json.dump(told, out, indent=1)
    for way in ways:
        heading = f"through {way}\n\n" if way != SERVE else ""
        print(f"{heading}{table.render(results[way], checks)}")
        if len(ways) > 1:
            print(f"{way}: {table.counts([results[way]], checks)}\n")
    print(f"{time.monotonic() - begun:.0f} s; the results are in {path}")
    print(table.counts(results.values(), checks))
    return 1 if any(table.count(of_way, "fail", checks) for of_way in results.values()) else 0


def ways_of(through):
    """The ways to brokers that are asked for, in the order of the places."""
    if not through:
        return [SERVE]
    return [place for place in places.PLACES if place in through or "all" in through]


def chosen(client, arguments):
    """The checks of a client that are asked for, by mode: `{mode: [check]}`."""
    found = {}
    for mode, names in checks.CLIENTS[client].items():
        names = [name for name in names if (not arguments.check or name in arguments.check)
                 and (not arguments.routes or name in checks.ROUTES)]
        apply = not (arguments.through and mode in checks.RESTART)
        if names and apply and (not arguments.mode or mode in arguments.mode):
            found[mode] = names
    return found


def run_all(wanted, ways, jobs):
    """The outcome of every check that is wanted, `{way: {client: {check: [outcome, detail]}}}`.

    A client's modes start once it is installed, while others are being installed, each against brokers of its own.
    """
    outcomes = {way: {client: {} for client in wanted} for way in ways}
    with (concurrent.futures.ThreadPoolExecutor(INSTALLATIONS) as installers,
          concurrent.futures.ThreadPoolExecutor(jobs) as runners):
        longest = (*checks.LONGEST_INSTALLATIONS, *checks.LONGEST_CHECKS)
        first = [client for client in longest if client in wanted]
        order = [*first, *(client for client in wanted if client not in first)]
        installing = {installers.submit(install.install, client): client for client in order if wanted[client]}
        running = {}
        for installed in concurrent.futures.as_completed(installing):
            client = installing[installed]
            try:
                command = installed.result()
            except install.CannotInstall as error:
                tell(client, f"cannot be installed: {error}")
                for way in ways:
                    fail_all(outcomes[way][client], wanted[client].values(), "the client cannot be installed")
                continue
            for way in ways:
                for modes in together(wanted[client]):
                    running[runners.submit(run_modes, client, command, way, modes)] = (way, client)
        for ended in concurrent.futures.as_completed(running):
            way, client = running[ended]
            outcomes[way][client].update(ended.result())
    # In the order of the table, whatever ended first.
    return {way: {client: {name: of_way[client][name] for names in wanted[client].values() for name in names}
                  for client in wanted if wanted[client]} for way, of_way in outcomes.items()}


def together(modes):
    """The modes that need the same data are one piece of work, every other one is its own."""
    restart = {mode: names for mode, names in modes.items() if mode in checks.RESTART}
    return [{mode: names} for mode, names in modes.items() if mode not in checks.RESTART] + ([restart] if restart else [])


def run_modes(client, command, way, modes):
    """The outcome of every check of these modes."""
    results = {}
    teller = client if way == SERVE else f"{client} through {way}"
    try:
        if way == SERVE:
            results.update(run_server(client, command, modes))
        else:
            for mode, names in modes.items():
                results.update(run_at_place(client, command, way, mode, names))
    except (server.CannotServe, install.CannotInstall) as error:
        tell(teller, str(error))
        fail_all(results, modes.values(), str(error))
    fail_all(results, modes.values(), "the client's program did not report it")
    reasons = {}
    for check, (outcome, detail) in results.items():
        if outcome == "fail":
            title = f"{check} (informative)" if check in checks.INFORMATIVE else check
            reasons.setdefault(detail, []).append(title)
    for detail, titles in reasons.items():
        tell(teller, f"{', '.join(titles)}: {detail}")
    return results


def fail_all(results, groups, why):
    """Whatever has no outcome yet has failed."""
    for names in groups:
        for check in names:
            results.setdefault(check, ["fail", why])


def run_server(client, command, modes):
    """Starts the server that these modes need and runs the client's program against it."""
    first = next(iter(modes))
    log = log_of(client, first, "server")
    open(log, "w").close()
    properties = checks.PROPERTIES.get(client, [])
    if first not in checks.RESTART:
        with server.Server(first, log, properties) as running:
            return run_against(client, command, first, modes[first], running)
    results = {}
    # What is committed survives the brokers: they stop, and start again on the same data and ports.
    with server.data_directory() as data:
        for mode, names in modes.items():
            with server.Server("plain", log, properties, ["--data", data]) as running:
                results.update(run_against(client, command, mode, names, running))
    return results


def run_against(client, command, mode, names, running):
    """Runs the client's program against a server."""
    results = run_program([*command, mode, *names], names, log_of(client, mode), running.environment())
    if running.process.poll() is not None:
        tell(client, f"the server ended with {running.process.returncode} during {mode}")
    return results


def run_at_place(client, command, place, mode, names):
    """Runs the client's program at a place of a simulated network of its own."""
    placed = places.placed(place, mode, checks.PROPERTIES.get(client, []))
    return run_program([*placed, *command, mode, *names], names, log_of(client, mode, place), places.environment(mode))


def run_program(command, names, log, environment):
    """Starts a client's program and reads its lines."""
    results = {}
    with open(log, "w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, stdin=subprocess.DEVNULL,
                                   env={**os.environ, **environment})
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
    return results


def log_of(*words):
    """Where something is said."""
    return os.path.join(install.CACHE, "logs", f"{'-'.join(words)}.log")


def tell(who, text):
    with _print:
        print(f"{who}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
