#!/bin/bash
# A Slurm cluster of this machine alone, in a network namespace of its own, without systemd. Needs root and Debian's
# packages: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
# up.sh FOLDER: all its files lie there; `down.sh FOLDER` ends it.
set -euo pipefail
folder=$1 host=$(hostname -s) name=headwater-slurm
mkdir -p "$folder"/{spool,state,log,munge} "/etc/netns/$name"
printf '127.0.0.1 localhost %s\n' "$host" > "/etc/netns/$name/hosts"
ip netns add "$name"
ip -n "$name" link set dev lo up
# with loopback alone getaddrinfo finds no name: another device must have an address
ip -n "$name" link add name hwslurm0 type veth peer name hwslurm1
ip -n "$name" addr add 10.78.0.1/24 dev hwslurm0
ip -n "$name" link set dev hwslurm0 up
ip -n "$name" link set dev hwslurm1 up

chown -R munge: "$folder/munge"
chmod 755 "$folder" "$folder/munge"
if [ ! -s /etc/munge/munge.key ]; then
  (umask 077; head -c 1024 /dev/urandom > /etc/munge/munge.key; chown munge: /etc/munge/munge.key)
fi
munge=$folder/munge
runuser -u munge -- munged --force --socket="$munge/socket" --pid-file="$munge/pid" --log-file="$munge/log" \
  --seed-file="$munge/seed"

cat > "$folder/slurm.conf" <<CONF
ClusterName=headwater
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,sched_min_interval=0
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
echo "CgroupPlugin=disabled" > "$folder/cgroup.conf"
export SLURM_CONF="$folder/slurm.conf"
ip netns exec "$name" slurmctld -f "$SLURM_CONF"
ip netns exec "$name" slurmd -f "$SLURM_CONF"
for _ in $(seq 60); do
  if ip netns exec "$name" sinfo --noheader --format=%t 2>/dev/null | grep -q idle; then exit 0; fi
  sleep 0.5
done
tail -n 5 "$folder"/log/*.log >&2
exit 1
