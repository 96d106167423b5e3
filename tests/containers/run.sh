#!/bin/bash
# make test-containers: builds the image, and runs it as people will: podman (Docker's commands), Apptainer, SLURM,
# Boutiques; results have to be those of the native run. Debian 12 and root. Everything is made in CI_DIR, which is
# removed at the end unless it was given (then images and programs are there for the next time). Debian packages stay.
#
#   run.sh [image | native | podman | refusals | apptainer | slurm | nipype | boutiques]...     default: all of them
#   run.sh image smoke                 the image, and one participant in it
#   run.sh clean                       removes what a failed try has left
#
# PYTHON is that of an environment with bids_refacer and its constraints.
set -euo pipefail
cd "$(dirname "$0")/../.."
keep=${CI_DIR:-}
export CI_DIR=${CI_DIR:-/var/tmp/bids_refacer-containers}
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
tests=$PWD/tests/containers tag=bids_refacer:ci work=$CI_DIR/tests
# one thread: with another number of them, sums of the model are made in another order, and distances move by up to 0.007 mm
options=(--deface-tools quickshear --steps 4 --gpu none --omp-nthreads 1)
export PYTHONPATH=$PWD OMP_NUM_THREADS=1
# shellcheck source=tests/containers/podman.sh
source "$tests/podman.sh"

say() { printf '\n== %s [%s s]\n' "$*" "$SECONDS"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
same() { "$python" "$tests/same_tables.py" "$@"; }
fresh() { rm -rf "$work/$1"; mkdir -p "$work/$1"; chown "${2:-0}" "$work/$1"; }
# Docker's read-only: no temporary folders but what the app makes in its work folder
hardened() {
  podman run --rm --read-only --read-only-tmpfs=false --user 12345:12345 --cap-drop ALL \
    --security-opt no-new-privileges --network none "$@"
}
refused() { # WORDS COMMAND...: the command fails with a sentence that holds the words, and no traceback
  local words=$1 said
  shift
  said=$("$@" 2>&1) && fail "this should be refused: $*"
  grep -qF -- "$words" <<< "$said" && ! grep -q Traceback <<< "$said" || fail "no '$words' in: $said"
  echo "refused: $(grep -F -- "$words" <<< "$said" | head -1)"
}

image() {
  say "image"
  local version lists=/opt/bids_refacer/share/bids_refacer
  version=$("$python" -c 'import bids_refacer; print(bids_refacer.__version__)')
  bash "$tests/podman.sh" prepare
  bash "$tests/podman.sh" build . "$tag" --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(git rev-parse HEAD 2> /dev/null || echo unknown)" \
    > "$CI_DIR/build.log" 2>&1 || { tail -40 "$CI_DIR/build.log" >&2; fail build; }
  podman images "$tag"
  podman image inspect --format '{{range $name, $value := .Labels}}{{$name}}={{$value}}{{"\n"}}{{end}}' "$tag" | tee "$work/labels"
  grep -qx "org.opencontainers.image.version=$version" "$work/labels" || fail "the image's label is of another version"
  [ "$(podman run --rm --entrypoint id "$tag" -u)" = 1000 ] || fail "the image's user is root"
  if podman run --rm --entrypoint sh "$tag" -c 'command -v gcc cc c++ ld make pip'; then fail "compilers or pip in the image"; fi
  podman run --rm --entrypoint cat "$tag" "$lists/python-packages.txt" "$lists/debian-packages.txt" > "$work/packages"
  for package in torch== bids-validator-deno== libc6; do grep -F "$package" "$work/packages" || fail "$package is not listed"; done
  time podman run --rm "$tag" --version | tee "$work/version"
  grep -qx "bids_refacer $version" "$work/version" || fail "the image's app is of another version"
}

native() {
  say "native run"
  rm -rf "$work/native"
  "$python" -m bids_refacer "$work/bids" "$work/native" participant --nprocs 2 "${options[@]}"
  "$python" -m bids_refacer "$work/bids" "$work/native" group
}

run_podman() {
  say "podman: read-only, a user without home, no capabilities, no network"
  fresh podman 12345
  hardened -v "$work/bids:/data:ro" -v "$work/podman:/out" "$tag" /data /out participant --nprocs 2 "${options[@]}"
  hardened -v "$work/bids:/data:ro" -v "$work/podman:/out" "$tag" /data /out group
  same "$work/native" "$work/podman"
}

smoke() {
  say "one participant in the image"
  fresh smoke 12345
  hardened -v "$work/bids:/data:ro" -v "$work/smoke:/out" "$tag" \
    /data /out participant --participant-label 01 --nprocs 2 "${options[@]}"
  [ -s "$work/smoke/bids_refacer/surfacedistance.tsv" ]
}

refusals() {
  say "what is refused"
  local data=(-v "$work/bids:/data:ro")
  fresh closed 0
  fresh open 12345
  refused 'be the owner of the folder: add --user' hardened "${data[@]}" -v "$work/closed:/out" "$tag" /data /out participant
  refused 'add -v YOUR_FOLDER:/data:ro' hardened "$tag" /data /out participant
  refused 'add -v YOUR_FOLDER:/out ' hardened "${data[@]}" "$tag" /data /out participant
  refused 'inside the container, and would be gone' podman run --rm --user 0 "${data[@]}" "$tag" /data /out participant
  refused '--gpu require: torch finds no CUDA GPU here' \
    hardened "${data[@]}" -v "$work/open:/out" "$tag" /data /out participant --gpu require
  refused 'or with more memory' hardened --memory 700m --memory-swap 700m "${data[@]}" -v "$work/open:/out" "$tag" \
    /data /out participant --participant-label 01 --nprocs 2 "${options[@]}"
  touch "$work/bids/written" && rm "$work/bids/written" # the mount is read-only, not the folder
  if hardened --entrypoint touch "${data[@]}" "$tag" /data/x; then fail "/data can be written to"; fi
}

run_apptainer() {
  say "Apptainer: unprivileged, nothing of the machine but the bound folders"
  bash "$tests/apptainer.sh" setup
  rm -rf "$work/app.tar" "$work/app.sif" "$work/hpc"
  podman save -q --format docker-archive -o "$work/app.tar" "$tag"
  fresh hpc 1000
  cp containers/bids_refacer.def "$work/hpc/"
  local run=(bash "$tests/apptainer.sh" 1000 apptainer) as=(--containall --cleanenv --no-home)
  "${run[@]}" build --mksquashfs-args '-comp zstd -Xcompression-level 1' --build-arg bootstrap=docker-archive \
    --build-arg "from=$work/app.tar" "$work/hpc/app.sif" "$work/hpc/bids_refacer.def" > "$work/hpc/build.log" 2>&1 \
    || { tail -20 "$work/hpc/build.log" >&2; fail "apptainer build"; }
  rm "$work/app.tar"
  ls -sh "$work/hpc/app.sif"
  mkdir "$work/hpc/out"
  chown 1000 "$work/hpc/out"
  "${run[@]}" run "${as[@]}" --bind "$work/bids:/data:ro" --bind "$work/hpc/out:/out" "$work/hpc/app.sif" \
    /data /out participant --participant-label 01 --nprocs 2 "${options[@]}"
  same "$work/native" "$work/hpc/out" 01
  fresh closed 0
  refused 'bind one of your own (apptainer)' "${run[@]}" run "${as[@]}" --bind "$work/bids:/data:ro" \
    --bind "$work/closed:/out" "$work/hpc/app.sif" /data /out participant
  refused '--bind YOUR_FOLDER:/data:ro (apptainer)' "${run[@]}" run "${as[@]}" "$work/hpc/app.sif" /data /out participant
}

programs() { # docker and apptainer under their own names, for scripts that call them
  mkdir -p "$work/bin"
  ln -sf "$(command -v podman)" "$work/bin/docker"
  # root's Apptainer needs a user namespace here; on a cluster, users have their own
  cat > "$work/bin/apptainer" <<P
#!/bin/bash
case \${1:-} in run | exec) set -- "\$1" --userns "\${@:2}" ;; esac
exec bash $tests/apptainer.sh 0 /usr/bin/apptainer "\$@"
P
  chmod +x "$work/bin/apptainer"
  ln -sf apptainer "$work/bin/singularity"
  export PATH=$work/bin:$PATH
}

slurm_on() {
  export SLURM_CONF=/run/bids_refacer-slurm/slurm.conf LOGNAME=${LOGNAME:-root}
  bash "$tests/slurm.sh" start
}

finished() { # waits until SLURM has nothing more to do
  for _ in $(seq 2400); do [ -z "$(squeue -h)" ] && return; sleep 1; done
  squeue
  fail "SLURM is not finished"
}

run_slurm() {
  say "SLURM: an array of three, two at a time in one output, one of them killed; then again"
  programs
  slurm_on
  fresh slurm
  fresh node # the disk of a node
  # as many as the machine has cores, so that two are at work on the same output at once
  export SBATCH_OPTIONS="--cpus-per-task=1 --mem=3G" SLURM_TMPDIR=$work/node
  local submit=(bash containers/slurm/submit.sh "$work/bids" "$work/slurm" "$work/hpc/app.sif")
  "${submit[@]}" "${options[@]}" | tee "$work/submit.log"
  local array
  array=$(sed -n 's/^Array job \([0-9]*\).*/\1/p' "$work/submit.log")
  local begun
  for _ in $(seq 1200); do
    begun=("$work"/node/bids_refacer.*/nodes/*/*/sub_02_T1w)
    [ -d "${begun[0]}" ] && break
    sleep 1
  done
  [ -d "${begun[0]}" ] || fail "task 2 has not begun: $(tail -n 3 "$work"/slurm/identifiable/logs/slurm/*/2.log)"
  squeue
  scancel --signal=KILL --full "${array}_2"
  finished
  tail -n 3 "$work"/slurm/identifiable/logs/slurm/*/*.log
  [ ! -e "$work/slurm/bids_refacer/sub-02/anat/sub-02_mod-T1w_desc-quickshear_surfacedistance.tsv" ] || fail "task 2 was not killed"
  local before after
  before=$(stat -c %Y "$work"/slurm/identifiable/.bids_refacer/sub-0[13]/anat/*record.json)
  "${submit[@]}" "${options[@]}" | tee "$work/submit.log"
  grep -q ': 1 participants' "$work/submit.log" || fail "more was submitted than the killed task"
  finished
  after=$(stat -c %Y "$work"/slurm/identifiable/.bids_refacer/sub-0[13]/anat/*record.json)
  [ "$before" = "$after" ] || fail "finished participants were done again"
  tail -n 2 "$work"/slurm/identifiable/logs/slurm/*/group.log
  same "$work/native" "$work/slurm"
  [ "$(ls "$work/node" | wc -l)" -le 1 ] || fail "tasks that were not killed left their work folders"
}

nipype() {
  say "Nipype's SLURM plugin, native"
  slurm_on
  rm -rf "$work/nipype"
  printf '{"plugin": "SLURM", "plugin_args": {"sbatch_args": "-n1 --mem=3G"}}' > "$work/nipype.json"
  "$python" -m bids_refacer "$work/bids" "$work/nipype" participant --participant-label 02 \
    --nipype-plugin-file "$work/nipype.json" "${options[@]}"
  same "$work/native" "$work/nipype" 02
}

boutiques() {
  say "Boutiques: bosh"
  programs
  local bosh=$CI_DIR/bosh/bin/bosh folder=$work/boutiques
  [ -x "$bosh" ] || { "$python" -m venv "$CI_DIR/bosh"; "$CI_DIR/bosh/bin/pip" install -q boutiques==0.5.33; }
  fresh boutiques
  cp boutiques/*.json "$folder/"
  cp -r "$work/bids" "$folder/bids"
  sed "s/bids_refacer:[0-9.]*\"/localhost\/$tag\"/" boutiques/bids_refacer.json > "$folder/docker.json"
  sed 's/"type": "docker"/"type": "singularity"/' "$folder/docker.json" > "$folder/singularity.json"
  sed 's/"quickshear", "pydeface", "niimath"/"quickshear"/; s/"num_samples"/"steps": 4, "omp_nthreads": 1, "num_samples"/' \
    boutiques/participant.json > "$folder/participant.json"
  sed 's/"results"/"singularity"/' "$folder/participant.json" > "$folder/other.json"
  printf '#!/bin/bash\nexec %s -m bids_refacer "$@"\n' "$python" > "$work/bin/bids_refacer"
  chmod +x "$work/bin/bids_refacer"
  (
    cd "$folder"
    "$bosh" validate --bids bids_refacer.json
    "$bosh" exec simulate bids_refacer.json -i participant.json | grep -F 'bids_refacer bids results participant --participant-label 01'
    "$bosh" exec launch --skip-data-collection -u docker.json participant.json
    "$bosh" exec launch --skip-data-collection --no-pull --imagepath "$work/hpc/app.sif" singularity.json other.json
    "$bosh" exec launch --skip-data-collection --no-container bids_refacer.json group.json
    [ -s group/bids_refacer/group.md ]
  )
  same "$work/native" "$folder/results" 01
  same "$work/native" "$folder/singularity" 01
}

# what runs is stopped in any case; what was built is kept after a failure, for the next try
ended() {
  local code=$?
  bash "$tests/slurm.sh" stop
  [ "$code" = 0 ] && return
  echo "FAILED. $CI_DIR is kept: the next try goes on from the layers that are built. To be rid of it: $0 clean" >&2
}

clean() {
  # without its configuration, podman would speak of the machine's own images
  if [ -e "$CONTAINERS_STORAGE_CONF" ]; then
    podman rm --all --force > /dev/null 2>&1 || true
    podman rmi --all --force > /dev/null 2>&1 || true
  fi
  for process in /proc/[0-9]*; do # of a build that was killed
    case $(readlink "$process/root" || true) in "$CI_DIR"/*) kill -9 "${process#/proc/}" || true ;; esac
  done
  { findmnt -rno TARGET | grep "^$CI_DIR/" || true; } | sort -r | xargs -r umount --lazy # often there is none
  rm -rf "$CI_DIR"
}

if [ "$*" = clean ]; then clean; exit; fi
trap ended EXIT
mkdir -p "$work"
chmod 755 "$CI_DIR" "$work"
rm -rf "$work/bids"
"$python" "$tests/make_dataset.py" "$work/bids"
[ $# -gt 0 ] || set -- image native podman refusals apptainer slurm nipype boutiques
for part in "$@"; do
  case $part in
    podman | apptainer | slurm) "run_$part" ;;
    image | native | smoke | refusals | nipype | boutiques) "$part" ;;
    *) fail "no part is called $part" ;;
  esac
done
rm -rf "$work"
[ -n "$keep" ] || clean
say "all passed: $*"
