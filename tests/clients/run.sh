#!/usr/bin/env bash
# Runs unmodified clients against `hopwise serve`, or at places of the simulated network by `hopwise exec`, and prints a table of
# clients and checks (see README.md).
#
#   tests/clients/run.sh [--through node-port|load-balancer|pod|all] [--routes] [--jobs N] [--mode MODE] [--check CHECK] [CLIENT...]
#
# Each client is installed from its ordinary registry into target/clients, at the version that its directory pins.
# HOPWISE_BIN is the program that is tested (default: a debug build of this workspace). The status is 1 if any check
# fails, and a client that cannot be installed fails all of its checks. kip-848 and describe-cluster decide nothing.
# rpk is not among them: the Go module proxy does not serve its module (README.md); curl sends what it asks the Admin API.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec python3 tests/clients/driver/run.py "$@"
