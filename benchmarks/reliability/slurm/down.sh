#!/bin/bash
# Ends the cluster that `up.sh FOLDER` started.
folder=$1 name=headwater-slurm
export SLURM_CONF="$folder/slurm.conf"
ip netns exec "$name" scancel --quiet --full --signal=KILL --user=root
ip netns exec "$name" scancel --quiet --user=root
for _ in $(seq 20); do
  [ -z "$(ip netns exec "$name" squeue --noheader)" ] && break
  sleep 0.5
done
for pid in "$folder/slurmd.pid" "$folder/slurmctld.pid" "$folder/munge/pid"; do
  [ -s "$pid" ] && kill "$(cat "$pid")"
done
sleep 1
ip netns del "$name"
rm -rf "/etc/netns/$name"
