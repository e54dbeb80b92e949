#!/usr/bin/env bash
# Opens the pages that `hopwise run --html` and `hopwise check --html` write in headless Chromium, and uses them as a reader
# does (see README.md).
#
#   tests/page/run.sh [ARGUMENT OF PLAYWRIGHT...]
#
# What it needs is installed: the packages of package.json, and a browser if there is none. HOPWISE_BIN is the program
# that is tested (default: a debug build of this workspace), CHROMIUM the browser (default: the first that is found).
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${HOPWISE_BIN:-}" ]; then
  cargo build --quiet --package hopwise
  HOPWISE_BIN="${CARGO_TARGET_DIR:-$PWD/target}/debug/hopwise"
fi
export HOPWISE_BIN

found() { command -v chromium || command -v chromium-browser || command -v google-chrome || true; }
CHROMIUM="${CHROMIUM:-$(found)}"
if [ -z "$CHROMIUM" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core; } >/dev/null
  CHROMIUM="$(found)"
fi
# Elsewhere Playwright brings its own.
export CHROMIUM

if ! command -v npm >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update && apt-get install --yes --no-install-recommends nodejs npm; } >/dev/null
fi

cd tests/page
npm ci --silent --no-audit --no-fund
[ -n "$CHROMIUM" ] || npx playwright install chromium
exec npx playwright test "$@"
