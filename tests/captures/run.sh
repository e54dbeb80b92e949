#!/usr/bin/env bash
# Captures of two scenarios, read by tshark: Kafka, HTTP and DNS are dissected, TLS is decrypted with the secrets beside the
# captures, and nothing is malformed.
#
#   tests/captures/run.sh
#
# tshark is installed if it is missing (Debian's package). HOPWISE_BIN is the program that is tested (default: a debug build
# of this workspace). Captures and what tshark said of them are in target/captures.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${HOPWISE_BIN:-}" ]; then
  cargo build --quiet --package hopwise
  HOPWISE_BIN="${CARGO_TARGET_DIR:-$PWD/target}/debug/hopwise"
fi
if ! command -v tshark >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update && apt-get install --yes --no-install-recommends tshark; } >/dev/null
fi

out=target/captures
rm -rf "$out"
mkdir -p "$out"
passed=0
failed=0

# The Kafka listeners of both scenarios; the ports are no well-known ones.
ports=(10092 9093 9094 9095 31092)

# Frames of CAPTURE that FILTER finds. Without TLS the ports speak Kafka, with it TLS and Kafka inside.
frames() { # SCENARIO CAPTURE FILTER
  local arguments=(-r "$out/$1/$2.pcapng")
  for port in "${ports[@]}"; do
    if [ "$1" = tls ]; then
      arguments+=(-d "tcp.port==$port,tls" -d "tls.port==$port,kafka")
    else
      arguments+=(-d "tcp.port==$port,kafka")
    fi
  done
  [ "$1" != tls ] || arguments+=(-o "tls.keylog_file:$PWD/$out/tls/tls-keys.log")
  tshark "${arguments[@]}" -Y "$3" 2>"$out/tshark.err" >"$out/frames.txt" || { cat "$out/tshark.err" >&2; exit 1; }
  wc -l <"$out/frames.txt"
}

expect() { # AT_LEAST|NONE SCENARIO CAPTURE FILTER
  local count
  count=$(frames "$2" "$3" "$4")
  if { [ "$1" = NONE ] && [ "$count" = 0 ]; } || { [ "$1" != NONE ] && [ "$count" -ge "$1" ]; }; then
    passed=$((passed + 1))
    printf 'ok    %-6s %-40s %5d frames: %s\n' "$2" "$3" "$count" "$4"
  else
    failed=$((failed + 1))
    printf 'FAIL  %-6s %-40s %5d frames, expected %s: %s\n' "$2" "$3" "$count" "$1" "$4"
    head -5 "$out/frames.txt"
  fi
}

"$HOPWISE_BIN" run scenarios/nodeport-vs-loadbalancer.yaml --pcap "$out/plain" --quiet
"$HOPWISE_BIN" run scenarios/tls-and-sasl.yaml --pcap "$out/tls" --quiet

bad='_ws.malformed || _ws.expert.severity >= 0x800000'
expect 200 plain redpanda_redpanda-0 'kafka.api_key == 0'
expect 200 plain redpanda_redpanda-0 'kafka.api_key == 1'
expect NONE plain redpanda_redpanda-0 "kafka && ($bad)"
expect 8 plain external 'dns.flags.response == 1 && dns.a'
expect NONE plain external "dns && ($bad)"
expect 2 plain switch_zone-a 'http.request'
expect 1 plain switch_zone-a 'http.response.code == 200'
expect NONE plain switch_zone-a "http && ($bad)"

# Kafka inside of TLS is only there for whoever has the secrets.
expect 20 tls secured_redpanda-0 'kafka.api_key == 0'
expect 2 tls secured_redpanda-0 'kafka.api_key == 36'
expect NONE tls secured_redpanda-0 "(kafka || tls.handshake) && ($bad)"
expect 20 tls external 'kafka'
mv "$out/tls/tls-keys.log" "$out/keys-taken-away.log"
: >"$out/tls/tls-keys.log"
expect NONE tls secured_redpanda-0 'kafka'
mv "$out/keys-taken-away.log" "$out/tls/tls-keys.log"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
