#!/bin/bash
# Apptainer of Debian sid, in a root of its own: apptainer.sh setup | apptainer.sh UID COMMAND...
# UID is 1000 (hpcuser) or 0. The folder CI_DIR and /tmp are shared with the machine.
set -euo pipefail
CI_DIR=${CI_DIR:-/var/tmp/bids_refacer-containers}
root=$CI_DIR/apptainer-root
if [ "${1:-}" = setup ]; then
  [ -x "$root/usr/bin/apptainer" ] || mmdebstrap --quiet --variant=minbase \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
    --include=apptainer,squashfuse,fuse3,fakeroot,e2fsprogs sid "$root"
  chroot "$root" id hpcuser > /dev/null 2>&1 || chroot "$root" useradd -m -u 1000 -s /bin/bash hpcuser
  [ -e "$root/fuse" ] || mknod -m 666 "$root/fuse" c 10 229
  exit 0
fi
user=$1
shift
# pivot_root, as a plain chroot does not let an unprivileged user make namespaces
exec unshare -m --propagation private bash -c '
set -eu
root=$1 user=$2 folder=$3 share=$4
shift 4
mount --bind "$root" "$root"
mkdir -p "$root$share" "$root/oldroot"
for name in proc sys dev; do mount --rbind "/$name" "$root/$name"; done
mount --bind "$root/fuse" "$root/dev/fuse"
mount --rbind "$share" "$root$share"
mount --bind /tmp "$root/tmp"
cp /etc/hosts /etc/resolv.conf "$root/etc/"
cd "$root"
pivot_root . oldroot
cd /
umount -l /oldroot
cd "$folder" 2> /dev/null || cd "$share"
[ "$user" = 0 ] && exec "$@"
name=$(id -un "$user")
exec setpriv --reuid "$user" --regid "$user" --init-groups env -i PATH=/usr/bin:/bin HOME="/home/$name" USER="$name" \
  LOGNAME="$name" LANG=C.UTF-8 APPTAINER_DISABLE_CACHE=1 "$@"
' apptainer.sh "$root" "$user" "$PWD" "$CI_DIR" "$@"
