#!/usr/bin/env bash
# The same TCP echo (5 bytes there and back) on hopwise's fabric (3 links each way, every hop its own event),
# turmoil and madsim (one message hop each way), in turn on this machine. Prints wall time per round trip in
# nanoseconds and the ratios to hopwise. Each figure is the best of three runs.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}

cargo build --quiet --release -p hopwise-benches --bin echo
RUSTFLAGS="--cfg madsim" cargo build --quiet --release --manifest-path benches/peers/Cargo.toml --bin madsim-echo --target-dir "$target/peers"
RUSTFLAGS="--cfg madsim" cargo build --quiet --release --manifest-path benches/peers/Cargo.toml --bin turmoil-echo --target-dir "$target/peers"

best() { for _ in 1 2 3; do "$@" | tail -n 1; done | sort -n | head -n 1; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }

printf '%-6s %12s %12s %12s %18s %18s\n' pairs hopwise madsim turmoil hopwise/madsim hopwise/turmoil
declare -A hopwise
for pairs in 1 10 50 100 1000; do
    rounds=$((pairs >= 1000 ? 300 : 100000 / pairs > 5000 ? 5000 : 100000 / pairs))
    hopwise[$pairs]=$(best "$target/release/echo" "$pairs" "$rounds")
    madsim=$(best "$target/peers/release/madsim-echo" "$pairs" "$rounds")
    turmoil=- against_turmoil=-
    if [ "$pairs" -le 50 ]; then
        turmoil=$(best "$target/peers/release/turmoil-echo" "$pairs" $((rounds > 1000 ? 1000 : rounds)))
        against_turmoil=$(ratio "${hopwise[$pairs]}" "$turmoil")
    fi
    printf '%-6s %12s %12s %12s %18s %18s\n' "$pairs" "${hopwise[$pairs]}" "$madsim" "$turmoil" \
        "$(ratio "${hopwise[$pairs]}" "$madsim")" "$against_turmoil"
done
printf 'hopwise, 1000 pairs against 100: %s\n' "$(ratio "${hopwise[1000]}" "${hopwise[100]}")"
