#!/bin/bash
# A Slurm cluster of virtual nodes on this machine, for tests. Root and Debian's slurmctld, slurmd, slurm-client and munge
# are needed. It overwrites /etc/slurm/slurm.conf: for machines that are thrown away.
#   scripts/slurm_local.sh start [NODES]   |   scripts/slurm_local.sh stop
set -eu

host=$(hostname)
nodes=${2:-1}

configure() {
  # cred_expire is also how long a job that was put back into the queue waits there: two minutes by default.
  local names ports
  if [ "$nodes" = 1 ]; then names=n1 ports=17001; else names="n[1-$nodes]" ports="[17001-$((17000 + nodes))]"; fi
  cat > /etc/slurm/slurm.conf << CONF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd-%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd-%n.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd-%n.log
NodeName=$names NodeHostname=$host NodeAddr=127.0.0.1 Port=$ports CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  # A master address is the name of a node.
  local line
  line="127.0.0.1 $(seq -f n%.0f -s ' ' "$nodes")"
  grep -qxF "$line" /etc/hosts || echo "$line" >> /etc/hosts
}

case ${1:-} in
start)
  mkdir -p /etc/slurm /run/munge /var/spool/slurmctld /var/log/slurm
  chown munge:munge /run/munge
  chmod 755 /run/munge
  pgrep -x munged > /dev/null || runuser -u munge -- munged
  configure
  rm -rf /var/spool/slurmctld/*
  slurmctld
  for i in $(seq "$nodes"); do
    mkdir -p "/var/spool/slurmd-n$i"
    slurmd -N "n$i"
  done
  for _ in $(seq 100); do
    [ "$(sinfo -h -t idle -o %D 2> /dev/null)" = "$nodes" ] && exit 0
    sleep 0.1
  done
  echo "the nodes do not come up; see /var/log/slurm" >&2
  exit 1
  ;;
stop) scontrol shutdown ;;
*)
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
  ;;
esac
