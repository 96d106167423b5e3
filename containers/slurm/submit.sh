#!/bin/bash
# Submits one task for each participant that is not finished, and the group level after them.
# Submitted again, it takes only those that failed, were killed, or are new.
#
#   submit.sh BIDS_DIR OUTPUT_DIR IMAGE.sif [options of bids_refacer, such as --deface-tools quickshear]
#
# SBATCH_ACCOUNT, SBATCH_PARTITION and the other variables of sbatch do as always; SBATCH_OPTIONS="--mem=8G --gpus=1" adds
# options for the tasks alone; ARRAY_LIMIT=N runs N tasks at a time.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,9s/^# \?//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
bids=$(realpath "$1") out=$(realpath "$2") image=$(realpath "$3")
shift 3

# options are checked here, on the login node, before anything is queued
plan=$(apptainer run --containall --cleanenv --no-home --pwd /out --bind "$bids:/data:ro" --bind "$out:/out" "$image" \
  /data /out participant --dry-run -v "$@") || {
  code=$? # 1 as well where images cannot be used: the others are queued all the same
  [[ $plan == *"Nothing was written."* ]] || exit "$code"
}
grep -v '^  \|: would be defaced and refaced\|: [0-9]* image x tool finished by an earlier run$' <<< "$plan" || true
asked=$(sed -n 's/^sub-\([^/]*\)\/.*: would be defaced.*/\1/p' <<< "$plan" | sort -u)

# what names paths and hosts is not for sharing
[ -d "$out/identifiable" ] || mkdir -m 700 "$out/identifiable"
logs=$out/identifiable/logs/slurm/$(date +%Y%m%dT%H%M%S)
mkdir -p "$logs"
count=$(grep -c . <<< "$asked" || true)
echo "$asked" > "$logs/participants.txt"
after=()
if [ "$count" -gt 0 ]; then
  # shellcheck disable=SC2086 # several options in one variable
  array=$(sbatch --parsable ${SBATCH_OPTIONS:-} --array="1-$count${ARRAY_LIMIT:+%$ARRAY_LIMIT}" --output "$logs/%a.log" \
    "$here/participant.sbatch" "$bids" "$out" "$image" "$logs/participants.txt" "$@")
  # afterany: a participant without a usable image must not keep the others from being compared
  after=(--dependency "afterany:${array%%;*}")
  echo "Array job $array: $count participants, listed with their logs in $logs"
else
  echo "Every participant is finished."
fi
group=$(sbatch --parsable "${after[@]}" --output "$logs/group.log" "$here/group.sbatch" "$bids" "$out" "$image")
echo "Group job $group: $logs/group.log"
