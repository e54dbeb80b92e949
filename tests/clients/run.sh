#!/usr/bin/env bash
# Runs unmodified Kafka clients against `hopwise serve` and prints a table of clients and checks.
#
#   tests/clients/run.sh [CLIENT...]
#
# Each client is installed from its ordinary registry into target/clients, at the version that its directory pins.
# HOPWISE_BIN is the program that is tested (default: a debug build of this workspace). The status is 1 if any check
# fails, and a client that cannot be installed fails all of its checks.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec python3 tests/clients/driver/run.py "$@"
