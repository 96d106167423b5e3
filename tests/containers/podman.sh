#!/bin/bash
# Builds an image where there is no Docker engine (Debian 12, root):
#   podman.sh prepare                          installs podman, makes the base image, and tries whether both work here
#   podman.sh build CONTEXT TAG [arguments]    as docker build
# Afterwards, `source tests/containers/podman.sh` gives podman the same settings.
CI_DIR=${CI_DIR:-/var/tmp/bids_refacer-containers}
export CONTAINERS_STORAGE_CONF=$CI_DIR/conf/storage.conf CONTAINERS_CONF=$CI_DIR/conf/containers.conf
[ "${BASH_SOURCE[0]}" = "$0" ] || return 0
set -euo pipefail
# made here out of Debian's packages: an image registry need not be reached
base=docker.io/library/debian:bookworm-slim

prepare() {
  mkdir -p "$CI_DIR/conf"
  local needed=()
  for program in podman runc mmdebstrap; do command -v "$program" > /dev/null || needed+=("$program"); done
  if [ ${#needed[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${needed[@]}" > /dev/null
  fi
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/store"\nrunroot = "%s/run"\n' "$CI_DIR" "$CI_DIR" \
    > "$CONTAINERS_STORAGE_CONF"
  # no network in containers; runc and limits that work in a container as well as on a machine
  cat > "$CONTAINERS_CONF" << C
[containers]
netns = "none"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
C
  if ! podman image exists "$base"; then
    mmdebstrap --quiet --variant=minbase bookworm - | podman import -q -c 'CMD ["bash"]' - "$base"
  fi
  podman run --rm "$base" true
}

build() {
  local context=$1 tag=$2
  shift 2
  # the build's pip gets this machine's certificates and, where there is one, its folder of wheels
  cp -L /etc/ssl/certs/ca-certificates.crt "$CI_DIR/conf/ca.crt"
  printf '[global]\ncert = /run/ci/ca.crt\n' > "$CI_DIR/conf/pip.conf"
  local mounts=(-v "$CI_DIR/conf:/run/ci:ro" -v "$CI_DIR/conf/pip.conf:/etc/pip.conf:ro")
  if [ -d "${PIP_FIND_LINKS:-/nonexistent}" ]; then
    printf 'find-links = %s\n' "$PIP_FIND_LINKS" >> "$CI_DIR/conf/pip.conf"
    mounts+=(-v "$PIP_FIND_LINKS:$PIP_FIND_LINKS:ro")
  fi
  for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL; do
    if [ -n "${!name:-}" ]; then set -- "$@" --build-arg "$name"; fi
  done
  podman build --isolation chroot --network host --pull=never "${mounts[@]}" "$@" -t "$tag" "$context"
}

"$@"
