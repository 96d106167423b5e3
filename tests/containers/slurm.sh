#!/bin/bash
# SLURM of one node, without systemd (Debian 12, root): slurm.sh start | slurm.sh stop
set -euo pipefail
node=$(hostname -s) run=/run/bids_refacer-slurm
if [ "${1:-start}" = stop ]; then
  [ -d "$run" ] || exit 0
  export SLURM_CONF=$run/slurm.conf
  for _ in $(seq 30); do # jobs of a failed test
    jobs=$(timeout 10 squeue -h -o %A 2> /dev/null) && [ -n "$jobs" ] || break
    xargs scancel <<< "$jobs" 2> /dev/null || true
    sleep 1
  done
  files=("$run/slurmd.pid" "$run/slurmctld.pid")
  [ ! -e "$run/munged" ] || files+=(/run/munge/munged.pid) # not one that was there before
  for file in "${files[@]}"; do
    [ -s "$file" ] || continue
    process=$(cat "$file")
    kill "$process" 2> /dev/null || true
    for _ in $(seq 20); do kill -0 "$process" 2> /dev/null || break; sleep 0.5; done
  done
  rm -rf "$run" /var/spool/ci-slurmd /var/spool/ci-slurmctld
  exit 0
fi
if ! { command -v slurmctld && command -v slurmd && command -v sbatch && command -v munged; } > /dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge > /dev/null
fi
install -d "$run" /etc/slurm /var/spool/ci-slurmd /var/spool/ci-slurmctld
install -d -o munge -g munge -m 0755 /run/munge
install -d -o munge -g munge -m 0700 /etc/munge /var/log/munge /var/lib/munge
[ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
chown munge:munge /etc/munge/munge.key
chmod 0400 /etc/munge/munge.key
export SLURM_CONF=$run/slurm.conf
if [ -s "$SLURM_CONF" ] && [ "$(sinfo -h -o %T 2> /dev/null)" = idle ]; then exit 0; fi # an earlier part started it
cat > "$SLURM_CONF" <<C
ClusterName=ci
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/slurmd.pid
SlurmdSpoolDir=/var/spool/ci-slurmd
StateSaveLocation=/var/spool/ci-slurmctld
SlurmctldLogFile=$run/slurmctld.log
SlurmdLogFile=$run/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SwitchType=switch/none
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$(awk '/MemTotal/{print int($2/1024*0.9)}' /proc/meminfo) State=UNKNOWN
PartitionName=debug Nodes=$node Default=YES MaxTime=INFINITE State=UP
C
munge -n > /dev/null 2>&1 || { runuser -u munge -- /usr/sbin/munged; touch "$run/munged"; }
slurmctld -c
slurmd -c
for _ in $(seq 30); do
  [ "$(sinfo -h -o %T 2> /dev/null)" = idle ] && exit 0
  sleep 1
done
tail -20 "$run"/*.log >&2
exit 1
