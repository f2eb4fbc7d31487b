#!/usr/bin/env bash
# Sets up .venv where needed, then lints and tests.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: bash scripts/test.sh [PYTEST ARGUMENT ...]

Makes .venv and installs everything into it (first run: some minutes and a few
GB; later: nothing), then runs ruff and pytest. The browser tests need a
Chromium: without one it is installed where apt-get and root are at hand, else
those tests are counted as NOT RUN.

  -h, --help   show this text; all other arguments go to pytest
               (bash scripts/test.sh tests/test_packaging.py -k wheel)

Environment:
  PYTHON                 the Python to make .venv with (3.10 or newer)
  FIFTYONE_DATABASE_URI  a MongoDB to use instead of a private one
TEXT
}

case "${1:-}" in
  -h | --help)
    usage
    exit 0
    ;;
esac

source "$(dirname "${BASH_SOURCE[0]}")/_setup.sh"

find_chromium() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null 2>&1 && return 0
  done
  return 1
}

ensure_chromium() {
  find_chromium && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "Installing Chromium for the browser tests"
    if (
      export DEBIAN_FRONTEND=noninteractive
      apt-get update -qq &&
        apt-get install -y -qq --no-install-recommends \
          chromium fonts-liberation
    ) >>"$INSTALL_LOG" 2>&1; then
      find_chromium && return 0
    fi
    say "Chromium could not be installed (see $INSTALL_LOG)"
  fi
  say "No Chromium: the browser tests will be counted as NOT RUN"
}

set_up
ensure_chromium
export FIFTYONE_DO_NOT_TRACK=1
cd "$ROOT"

# All three run, whatever the first ones say
failed=""
"$VENV_PYTHON" -m ruff check . || failed="$failed ruff-check"
"$VENV_PYTHON" -m ruff format --check . || failed="$failed ruff-format"
"$VENV_PYTHON" -m pytest "$@" || failed="$failed pytest"
[ -z "$failed" ] || die "failed:$failed"
