#!/bin/bash
# The part of run.sh that continuous integration has time for: the image is built, and one participant runs in it.
# Where that cannot be tried, it says "skipped: reason" and succeeds: what a machine lacks is no fault of the project.
# It ends within CONTAINERS_LIMIT seconds (15 minutes); what it made is removed, unless CI_DIR was given.
set -euo pipefail
cd "$(dirname "$0")/../.."
keep=${CI_DIR:-}
export CI_DIR=${CI_DIR:-/var/tmp/bids_refacer-containers}
python=${PYTHON:-.venv/bin/python} limit=${CONTAINERS_LIMIT:-900}
skip() { echo "containers skipped: $*"; exit 0; }
mkdir -p "$CI_DIR"
trap '[ -n "$keep" ] || bash tests/containers/run.sh clean' EXIT

[ "$(id -u)" = 0 ] || skip "podman is run as root here"
for program in apt-get findmnt; do command -v "$program" > /dev/null || skip "there is no $program"; done
free=$(df --output=avail -k "$CI_DIR" | tail -n 1)
[ "$free" -gt 12000000 ] || skip "$CI_DIR has less than 12 GB of disk"
timeout "$((limit / 3))" bash tests/containers/podman.sh prepare > "$CI_DIR/prepare.log" 2>&1 \
  || skip "podman cannot be installed, or cannot run a container here: $(tail -n 2 "$CI_DIR/prepare.log" | tr '\n' ' ')"
torch=$(grep '^torch==' constraints.txt)+cpu
"$python" -m pip install --quiet --dry-run --no-deps --ignore-installed "$torch" > "$CI_DIR/torch.log" 2>&1 \
  || skip "pip finds no $torch: give PyTorch's CPU index as PIP_EXTRA_INDEX_URL"
code=0
PYTHON=$python timeout "$((limit - SECONDS))" bash tests/containers/run.sh image smoke || code=$?
[ "$code" != 124 ] || skip "not finished within $limit seconds, which leaves too little time for the tests"
exit "$code"
