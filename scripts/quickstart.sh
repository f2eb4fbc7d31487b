#!/usr/bin/env bash
# Sets up .venv where needed, then scores real images and opens the App.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: bash scripts/quickstart.sh [OPTION ...]

Makes .venv and installs everything into it (first run: some minutes and a few
GB; later: nothing), then scores real images, prints what it found and opens
the App.

  --images DIR   score the images of a folder (its sub-folders are labels)
                 instead of sample photographs
  --classes A,B  the labels to choose among, for --images without sub-folders
  --encoder NAME the image-text encoder, such as ViT-B-32 or lite (default:
                 ViT-B-32 where its weights can be had, else lite)
  --name NAME    the dataset's name (default: fiftyone-iqa-quickstart)
  --no-app       stop before opening the App
  --port N       the App's port
  -h, --help     show this text

Environment:
  PYTHON                 the Python to make .venv with (3.10 or newer)
  FIFTYONE_DATABASE_URI  a MongoDB to use instead of FiftyOne's own
TEXT
}

refuse() {
  printf 'error: %s (try --help)\n' "$*" >&2
  exit 2
}

# Checked here too, so that a typing error does not cost an installation
check_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help)
        usage
        exit 0
        ;;
      --images | --classes | --encoder | --name | --port)
        [ $# -ge 2 ] || refuse "$1 needs a value"
        [ "$1" != --images ] || [ -d "$2" ] || refuse "no such folder: $2"
        shift
        ;;
      --images=* | --classes=* | --encoder=* | --name=* | --port=*) ;;
      --no-app) ;;
      *) refuse "unknown option: $1" ;;
    esac
    shift
  done
}

check_arguments "$@"
source "$(dirname "${BASH_SOURCE[0]}")/_setup.sh"
set_up
exec "$VENV_PYTHON" "$ROOT/scripts/quickstart.py" "$@"
