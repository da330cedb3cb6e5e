#!/usr/bin/env bash
# Tunes the network namespace it runs in, with a directory as the root whose
# proc/sys/net is the real one, and puts all back. TestTuneNamespace starts it.
set -euo pipefail
cd "$(dirname "$0")/../../scripts"
root=$1
flags=(--root "$root" --connections 70000 --ports "8080,9000-9004")
sysctls=/proc/sys/net

wrong() {
	echo "wrong: $*"
	exit 1
}

# tuned STATUS COMMAND: tune.sh ends with that status.
tuned() {
	local want=$1 status=0
	shift
	out=$(./tune.sh "$@" "${flags[@]}" 2>&1) || status=$?
	echo "$out"
	((status == want)) || wrong "$*: status $status, not $want"
}

holds() { # sysctl, value
	local now
	read -r -a now <"$sysctls/$1" || true
	[[ "${now[*]-}" == "$2" ]] || wrong "$1 is ${now[*]-}, not $2"
}

# everything prints all values there are; some can only be written.
everything() { (cd "$sysctls" && { grep -rs "" . || true; } | sort); }

echo "22,8080" >$sysctls/ipv4/ip_local_reserved_ports
echo "9" >$sysctls/ipv4/tcp_fin_timeout       # better than wanted
echo "1000" >$sysctls/ipv4/tcp_keepalive_time # worse
everything >"$root/before"

tuned 1 verify
[[ $out == *"differs: net.ipv4.tcp_keepalive_time: 1000, wanted 300"* ]] || wrong "verify says nothing"

tuned 3 apply
[[ $out == *"skipped: net.core.netdev_max_backlog: not on this kernel, or not in this namespace"* ]] || wrong "nothing is missing"
holds core/somaxconn 65535
holds ipv4/ip_local_port_range "1024 65535"
holds ipv4/ip_local_reserved_ports 22,8080,9000-9004
holds ipv4/tcp_fin_timeout 9
holds ipv4/tcp_keepalive_time 300
everything >"$root/applied"

tuned 3 apply
[[ $out == *$'\n0 set, '* ]] || wrong "applied twice"
cmp <(everything) "$root/applied"

# A namespace cannot lift what belongs to the host.
if [[ -e $sysctls/core/rmem_max ]] && (($(<$sysctls/core/rmem_max) < 4194304)); then
	[[ $out == *"skipped: net.core.rmem_max: read-only here"* ]] || wrong "rmem_max is not read-only"
fi

tuned 0 revert
cmp <(everything) "$root/before"
[[ ! -e $BELFRY_TUNE_STATE ]] || wrong "the state is still there"
echo "all as it was"
