#!/bin/bash
# wheel.sh WHEEL: what was packed is complete. In an environment of its own and an empty folder, a synthetic head is made
# and audited, and the group level is run. PYTHON makes the environment.
set -euo pipefail
wheel=$(realpath "$1") constraints=$(realpath "$(dirname "$0")/../constraints.txt")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --constraint "$constraints" "$wheel"
export PATH=$folder/venv/bin:$PATH
mkdir "$folder/empty"
cd "$folder/empty"
bids_refacer --version
bids_refacer simulate heads --participants 1 --seed 1
bids_refacer heads out participant --deface-tools skullstrip --num-samples 1 --steps 2 --gpu none
bids_refacer heads out group
for file in bids_refacer/surfacedistance.tsv bids_refacer/sub-001.html identifiable/sub-001.html bids_refacer/group.html; do
  [ -s "out/$file" ] || { echo "out/$file is missing" >&2; exit 1; }
done
grep -q '"CodeURL": "https://' out/bids_refacer/dataset_description.json || { echo "dataset_description.json has no CodeURL" >&2; exit 1; }
echo "wheel passed: $(basename "$wheel")"
