#!/usr/bin/env bash
# `hopwise serve`, franz-go's kfake and librdkafka's mock cluster, three brokers each, on loopback in turn on this
# machine, under one franz-go client. Prints every figure and how far hopwise is ahead; arguments go to the program
# (serve/main.go). Needs Go and Python 3; what it installs goes to target/.
#
# What the three do with a record of acks=all:
#   hopwise  checks every record of the batch, appends and syncs it on a majority of three replicas in memory, which
#            speak Raft over TCP (with --data: on the disk)
#   kfake    checks the batch's checksum and keeps it in memory, once
#   mock     keeps the batch in memory, once, of a partition the last 5 MiB
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
hopwise=${HOPWISE_BIN:-$target/release/hopwise}

if [ -z "${HOPWISE_BIN:-}" ]; then
    cargo build --quiet --release -p hopwise --bin hopwise
fi
mkdir -p "$target/serve"
go -C benches/serve build -o "$target/serve/serve-bench" .
python="$target/serve/python/bin/python"
if ! "$python" -c 'import confluent_kafka' 2>/dev/null; then
    python3 -m venv "$target/serve/python"
    "$python" -m pip install --quiet --disable-pip-version-check -r benches/serve/requirements.txt
fi
exec "$target/serve/serve-bench" "$@" "$hopwise" "$python" benches/serve/mock.py
