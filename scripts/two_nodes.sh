#!/bin/bash
# Run one command on two "machines" of this one: network namespaces joined by a pair of virtual cards, each with a host
# name of its own, so that processes must find each other over a network. Root and iproute2 are needed.
#   scripts/two_nodes.sh 'COMMAND'     $NODE_RANK is 0 or 1; node0 is 10.77.0.1, node1 is 10.77.0.2
# The exit status is 0 when both ended with 0; each line is marked with its machine. LIMIT: seconds (default 120).
set -u

remove() {
  for i in 0 1; do
    ip netns del "pystematic$i" 2> /dev/null
    rm -rf "/etc/netns/pystematic$i"
  done
}
remove
trap remove EXIT

for i in 0 1; do ip netns add "pystematic$i" || exit 1; done
ip link add veth0 netns pystematic0 type veth peer name veth1 netns pystematic1 || exit 1
for i in 0 1; do
  ip -n "pystematic$i" addr add "10.77.0.$((i + 1))/24" dev "veth$i"
  ip -n "pystematic$i" link set lo up
  ip -n "pystematic$i" link set "veth$i" up
  mkdir -p "/etc/netns/pystematic$i"
  printf '127.0.0.1 localhost\n10.77.0.1 node0\n10.77.0.2 node1\n' > "/etc/netns/pystematic$i/hosts"
  : > "/etc/netns/pystematic$i/resolv.conf" # a name server that cannot be reached is waited for
done

pids=()
for i in 0 1; do
  (
    set -o pipefail
    NODE_RANK=$i GLOO_SOCKET_IFNAME=veth$i timeout "${LIMIT:-120}" ip netns exec "pystematic$i" \
      unshare --uts bash -c "hostname node$i; $1" 2>&1 | sed -u "s/^/node$i: /"
  ) &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit $status
