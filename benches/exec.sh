#!/usr/bin/env bash
# Real programs through `hopwise exec` (Linux; needs what exec needs, and python3). Two questions:
#
#   How late is a packet?   A path of 1 ms there and back is configured; `hopwise probe` says what it is in virtual time,
#                           a real client measures it. Goal: the median is at most 150 µs longer, on a quiet machine.
#   How much goes through?  Over a path without delay. Goal: 300 MB/s.
#
# The server is a real program in a pod of its own (both ends of the path are TUN devices), or one that the simulation
# plays (one end is). Arguments: `latency`, `throughput`, or none for both; COUNT and SECONDS_EACH say how long it measures.
# HOPWISE_BIN is the executable; without it one is built.
set -euo pipefail
cd "$(dirname "$0")/.."
hopwise=${HOPWISE_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/release/hopwise}
what=${1:-both} count=${COUNT:-2000} seconds=${SECONDS_EACH:-3}
if [ -z "${HOPWISE_BIN:-}" ]; then
    cargo build --quiet --release -p hopwise --bin hopwise
fi
directory=$(mktemp -d)
trap 'rm -r "$directory"' EXIT
programs=$PWD/benches/exec/programs.py
inside=.default.svc.cluster.local

# The cluster with a delay between zones (µs, one way) and between clients and the site (ms, one way).
cluster() {
    sed -e "s/ZONE_TO_ZONE_US/$1/" -e "s/CLIENT_TO_EDGE_MS/$2/" benches/exec/cluster.yaml >"$directory/cluster.yaml"
}
inputs() { echo -f benches/exec/pods.yaml --cluster "$directory/cluster.yaml"; }

# The round trip in virtual time, in ns: from PLACE to HOST:PORT.
configured() {
    "$hopwise" probe $(inputs) --from "$1" --to "$2" --format json | python3 -c 'import json, sys; print(json.load(sys.stdin)["connect_ns"])'
}

# What a client at PLACE prints. A server that runs needs nothing to listen to if nobody asks it.
measured() {
    local place=$1
    shift
    "$hopwise" exec $(inputs) --run "pod/default/real=exec python3 $programs serve" --from "$place" -- python3 "$programs" "$@"
}

latency_row() { # what the client does, place, host, port, what the server is
    local expected median p99 counted
    expected=$(configured "$2" "$3:$4")
    read -r median p99 counted < <(measured "$2" "$1" "$3" "$4" "$count")
    awk -v what="$1" -v place="$2" -v server="$5" -v e="$expected" -v m="$median" -v p="$p99" -v n="$counted" 'BEGIN {
        printf "%-12s %-20s %-10s %7d %12.1f %10.1f %10.1f %14.1f\n", what, place, server, n, e / 1e3, m / 1e3, p / 1e3, (m - e) / 1e3 }'
}

latency() {
    printf '%-12s %-20s %-10s %7s %12s %10s %10s %14s\n' time-of from server count configured median p99 median-longer
    cluster 500 0.5
    latency_row round-trips pod/default/client real$inside 8007 real
    latency_row round-trips pod/default/client simulated$inside 8007 simulated
    latency_row connects pod/default/client real$inside 8009 real
    latency_row connects pod/default/client simulated$inside 8007 simulated
    latency_row round-trips external 10.0.0.11 30007 real
    echo "(µs)"
}

throughput_row() { # what the client does, place, host, port, what the server is
    printf '%-12s %-20s %-10s %10s\n' "$1" "$2" "$5" "$(measured "$2" "$1" "$3" "$4" "$seconds")"
}

throughput() {
    printf '%-12s %-20s %-10s %10s\n' direction from server MB/s
    cluster 0 0
    throughput_row upload pod/default/client real$inside 8009 real
    throughput_row download pod/default/client real$inside 8019 real
    throughput_row both-ways pod/default/client real$inside 8007 real
    throughput_row both-ways pod/default/client simulated$inside 8007 simulated
    throughput_row upload external 10.0.0.11 30009 real
}

case $what in
latency | throughput) "$what" ;;
*) latency && throughput ;;
esac
