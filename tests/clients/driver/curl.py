"""HTTP by curl, for the checks of the HTTP APIs."""

import json
import os
import subprocess


def addresses(name):
    """Every broker's address of an API, by the broker's id."""
    entries = (entry.split("=") for entry in os.environ.get(name, "").split(",") if entry)
    return {int(identity): address for identity, address in entries}


def call(method, url, body=None, headers=(), timeout=30):
    """The status and the body (parsed if it is JSON) of a request."""
    command = ["curl", "--silent", "--show-error", "--max-time", str(timeout), "--location", "--request", method,
               "--write-out", "\n%{http_code}", url]
    for header in headers:
        command += ["--header", header]
    if body is not None:
        command += ["--data-binary", body if isinstance(body, str) else json.dumps(body)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout + 10)
    if ended.returncode != 0:
        raise AssertionError(f"{method} {url}: {ended.stderr.strip()}")
    text, status = ended.stdout.rsplit("\n", 1)
    try:
        return int(status), json.loads(text)
    except json.JSONDecodeError:
        return int(status), text
