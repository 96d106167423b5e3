#!/bin/bash
# Submits one task for each participant, and the release after them. Submitted again, it goes on where it was stopped.
#
#   submit_deface.sh BIDS_DIR RELEASE_DIR IMAGE.sif --tool NAME [options of bids_refacer deface]
#
# SBATCH_ACCOUNT, SBATCH_PARTITION and the other variables of sbatch do as always; SBATCH_OPTIONS="--mem=8G" adds options for
# the tasks alone; ARRAY_LIMIT=N runs N tasks at a time.
set -euo pipefail
[ $# -ge 5 ] || { sed -n '2,7s/^# \?//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2" "$2-audit"
bids=$(realpath "$1") release=$(realpath "$2") image=$(realpath "$3")
audit=$release-audit
shift 3

# options are checked here, on the login node, before anything is queued
apptainer run --containall --cleanenv --no-home --pwd /audit --bind "$bids:/data:ro" --bind "$release:/release" \
  --bind "$audit:/audit" "$image" deface /data /release --audit-dir /audit --dry-run "$@"

# what names paths and hosts is not for sharing
[ -d "$audit/identifiable" ] || mkdir -m 700 "$audit/identifiable"
logs=$audit/identifiable/logs/slurm/$(date +%Y%m%dT%H%M%S)
mkdir -p "$logs"
find -L "$bids" -maxdepth 1 -type d -name 'sub-*' -printf '%f\n' | sed 's/^sub-//' | sort > "$logs/participants.txt"
count=$(wc -l < "$logs/participants.txt")
[ "$count" -gt 0 ] || { echo "$bids has no folder sub-*: give the root of a BIDS dataset." >&2; exit 1; }
# shellcheck disable=SC2086 # several options in one variable
array=$(sbatch --parsable ${SBATCH_OPTIONS:-} --array="1-$count${ARRAY_LIMIT:+%$ARRAY_LIMIT}" --output "$logs/%a.log" \
  "$here/deface.sbatch" "$bids" "$release" "$audit" "$image" "$logs/participants.txt" "$@")
echo "Array job $array: $count participants, listed with their logs in $logs"
# afterany: a participant without a usable image must not keep the others from being released
last=$(sbatch --parsable --dependency "afterany:${array%%;*}" --output "$logs/release.log" \
  "$here/release.sbatch" "$bids" "$release" "$audit" "$image" "$@")
echo "Release job $last: $logs/release.log"
