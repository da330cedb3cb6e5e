#!/usr/bin/env bash
# Tunes a Linux host for many WebSocket connections. It shows the settings with
# reasons, applies, checks and reverts them, and makes them permanent. A value
# that is already better stays. "tune.sh --help" has the usage.
set -euo pipefail
export LC_ALL=C

usage() {
	cat <<'END'
usage: tune.sh plan|apply|verify|revert|persist [--connections N] [--ports LIST]
               [--nic NAME]… [--unit NAME] [--root DIR]

  plan      print every setting with its current value, its new value and why
  apply     set the new values until the next boot; keep the old ones for revert
  verify    print what differs from the plan
  revert    restore the values from before apply, and remove the files of persist
  persist   write files for sysctl.d, tmpfiles.d, modprobe.d and the systemd
            unit, so that the values are set at every boot

  --connections N   client connections, 1 to 16777216; the default is as many
                    as fit into memory, but at most 1000000
  --ports LIST      listening ports that outgoing connections must not use;
                    default 8080-8081,9000-9019
  --nic NAME        spread this interface's packets and interrupts over all CPUs
  --unit NAME       the systemd unit; default belfry.service
  --root DIR        read and write below DIR instead of / (an image, a test)

The old values are in $BELFRY_TUNE_STATE, by default /var/lib/belfry-tune/state
below the root.

exit status: 0 everything is as planned
             1 something differs or was refused
             2 wrong usage
             3 something is missing or read-only, as in a container
END
}

die() { # status, message
	echo "tune.sh: $2" >&2
	exit "$1"
}

# less A B: whether A < B, for whole numbers of any size: file-max can be 2^64-1.
less() {
	if ((${#1} != ${#2})); then ((${#1} < ${#2})); else [[ $1 < $2 ]]; fi
}
smaller() { if less "$1" "$2"; then echo "$1"; else echo "$2"; fi; }
larger() { if less "$1" "$2"; then echo "$2"; else echo "$1"; fi; }

# ---- the wanted values -----------------------------------------------------
# One row for each setting. Kinds: atleast and atmost (for each of several
# numbers), exact, range (first at most, last at least), ports (a list that must
# contain these), thp (anything except always), mask (CPUs in hexadecimal).
kinds=() names=() paths=() wants=() whys=()

row() { # kind, name, path, wanted, why [source]
	kinds+=("$1") names+=("$2") paths+=("$root$3") wants+=("$4") whys+=("$5")
}
sysctl() { row "$1" "$2" "/proc/sys/${2//.//}" "$3" "$4"; }

fs="[Documentation/admin-guide/sysctl/fs.rst]" ip="[Documentation/networking/ip-sysctl.rst]"

want_descriptors() {
	sysctl atleast fs.nr_open "$(larger 1048576 "$nofile")" "upper limit of RLIMIT_NOFILE of a process; a connection takes a descriptor $fs"
	sysctl atleast fs.file-max $((connections * 5 / 4 + 262144)) "open files of the whole system $fs"
	sysctl atleast fs.epoll.max_user_watches $((connections * 2)) "a connection takes a watch; the default is 4 % of memory, too little on a small host [man 7 epoll]"
}

want_queues() {
	sysctl atleast net.core.somaxconn 65535 "accept queue of each listener, which a storm of reconnects fills [man 2 listen]"
	sysctl atleast net.ipv4.tcp_max_syn_backlog 65535 "handshakes in progress, unless SYN cookies lift this limit $ip"
	sysctl atleast net.ipv4.tcp_syncookies 1 "clients can still connect during a SYN flood $ip"
	sysctl atleast net.core.netdev_max_backlog 16384 "packets that wait for a CPU; the clients' ACKs of a fan-out come in bursts [Documentation/admin-guide/sysctl/net.rst]"
}

want_ports() {
	sysctl range net.ipv4.ip_local_port_range "1024 65535" "outgoing connections: a proxy or a load generator on this host needs a port for each $ip"
	sysctl ports net.ipv4.ip_local_reserved_ports "$ports" "listening ports that outgoing connections must not use $ip"
}

want_memory() {
	# A socket with data in transit is charged at least a page. A host must not
	# use more than half of its memory for that.
	local half=$((memory / 2 / $(getconf PAGESIZE))) most=$((connections * 2))
	((most <= half)) || most=$half
	sysctl atleast net.ipv4.tcp_mem "$((most / 2)) $((most * 3 / 4)) $most" "pages that all of TCP may hold: one for each connection in a fan-out, twice; half of memory at most [man 7 tcp]"
	sysctl atleast net.ipv4.tcp_rmem "4096 131072 6291456" "receive buffer of a socket: minimum, default, maximum; idle sockets use none [man 7 tcp]"
	sysctl atleast net.ipv4.tcp_wmem "4096 16384 4194304" "send buffer, likewise; belfry limits its own with TCP_NOTSENT_LOWAT [man 7 tcp]"
	sysctl atleast net.core.rmem_max 4194304 "largest SO_RCVBUF a program may ask for [man 7 socket]"
	sysctl atleast net.core.wmem_max 4194304 "largest SO_SNDBUF a program may ask for [man 7 socket]"
	row thp transparent_hugepage /sys/kernel/mm/transparent_hugepage/enabled madvise "always gives 2 MB to tables that use only some pages [Documentation/admin-guide/mm/transhuge.rst]"
}

want_lifetimes() {
	sysctl atmost net.ipv4.tcp_keepalive_time 300 "dead peers of connections with keepalive, such as proxies and NATS, are found in minutes, not hours $ip"
	sysctl atmost net.ipv4.tcp_keepalive_intvl 30 "the same $ip"
	sysctl atmost net.ipv4.tcp_keepalive_probes 5 "the same $ip"
	sysctl exact net.ipv4.tcp_tw_reuse 1 "outgoing connections may reuse a port in TIME_WAIT; safe with time stamps $ip"
	sysctl atmost net.ipv4.tcp_fin_timeout 15 "closed sockets whose peers do not answer are removed earlier $ip"
	sysctl atleast net.ipv4.tcp_max_tw_buckets "$(larger 262144 "$connections")" "all clients may leave at once, as at a restart $ip"
	sysctl atleast net.ipv4.tcp_max_orphans "$(larger 262144 $((connections / 4)))" "closed sockets with unsent data; beyond this number they are reset $ip"
	sysctl exact net.ipv4.tcp_slow_start_after_idle 0 "a connection that was idle sends its backlog without slow start $ip"
}

want_conntrack() {
	if [[ ! -e $root/proc/sys/net/netfilter/nf_conntrack_max ]]; then
		notes+=("nf_conntrack is not loaded: nothing to set")
		return
	fi
	sysctl atleast net.netfilter.nf_conntrack_max "$tracked" "a connection takes an entry; when the table is full, packets are dropped [Documentation/networking/nf_conntrack-sysctl.rst]"
	sysctl atleast net.netfilter.nf_conntrack_buckets $((tracked / 2)) "hash table: an entry is in it twice [Documentation/networking/nf_conntrack-sysctl.rst]"
}

want_nic() { # name
	local dir=/sys/class/net/$1 doc="[Documentation/networking/scaling.rst]" queues queue irq i=0
	[[ -d $root$dir/queues ]] || die 2 "--nic: no interface $1"
	queues=("$root$dir/queues"/rx-*)
	if ((${#queues[@]} < ${#cpus[@]})); then
		sysctl atleast net.core.rps_sock_flow_entries 32768 "RFS: packets are handled where their socket is read $doc"
		for queue in "${queues[@]#"$root"}"; do
			row mask "$1/${queue##*/}/rps_cpus" "$queue/rps_cpus" "$(cpu_mask)" "RPS: fewer receive queues than CPUs $doc"
			row atleast "$1/${queue##*/}/rps_flow_cnt" "$queue/rps_flow_cnt" $((32768 / ${#queues[@]})) "RFS: the queue's share of the flows $doc"
		done
	fi
	# The interrupts of a virtio interface belong to its parent PCI device.
	for irq in "$root$dir"/device/msi_irqs/* "$root$dir"/device/../msi_irqs/*; do
		[[ -e $root/proc/irq/${irq##*/}/smp_affinity_list ]] || continue
		row exact "$1/irq/${irq##*/}" "/proc/irq/${irq##*/}/smp_affinity_list" "${cpus[i++ % ${#cpus[@]}]}" \
			"interrupts spread over the CPUs [Documentation/core-api/irq/irq-affinity.rst]"
	done
	[[ ! -d $root/run/irqbalance ]] || notes+=("irqbalance runs and will move the interrupts again: stop it, or ban these interrupts in its settings")
}

# read_cpus fills cpus from the kernel's list, such as 0-3,6.
read_cpus() {
	local part i list=0
	read -r list 2>/dev/null <"$root/sys/devices/system/cpu/online" || true
	for part in ${list//,/ }; do
		for ((i = ${part%-*}; i <= ${part#*-}; i++)); do cpus+=("$i"); done
	done
}

# cpu_mask prints all CPUs as the kernel does: words of 32 bits, highest first.
cpu_mask() {
	local cpu words=() text
	for cpu in "${cpus[@]}"; do
		((words[cpu / 32] |= 1 << cpu % 32)) || true
	done
	for ((cpu = ${#words[@]} - 1; cpu >= 0; cpu--)); do
		printf -v text '%s,%08x' "${text-}" "${words[cpu]-0}"
	done
	echo "${text#,}"
}

# ---- current values and targets ---------------------------------------------
# current prints a row's value as words separated by one space, and fails if
# there is none.
current() { # row
	local text words
	{ text=$(<"${paths[$1]}"); } 2>/dev/null || return 1
	if [[ ${kinds[$1]} == thp ]]; then # always [madvise] never
		text=${text#*[} text=${text%]*}
	fi
	read -r -a words <<<"${text//$'\n'/ }"
	echo "${words[*]-}"
}

# target prints what a row should have: its value now if that is good.
target() { # row, value now
	local i out=() now want
	read -r -a now <<<"$2"
	read -r -a want <<<"${wants[$1]}"
	case ${kinds[$1]} in
	atleast) for i in "${!want[@]}"; do out+=("$(larger "${now[i]-0}" "${want[i]}")"); done ;;
	atmost) for i in "${!want[@]}"; do out+=("$(smaller "${now[i]-${want[i]}}" "${want[i]}")"); done ;;
	range) out=("$(smaller "${now[0]}" "${want[0]}")" "$(larger "${now[1]}" "${want[1]}")") ;;
	ports) if contains "$2" "${wants[$1]}"; then out=("$2"); else out=("${2:+$2,}${wants[$1]}"); fi ;;
	thp) if [[ $2 == always ]]; then out=(madvise); else out=("$2"); fi ;;
	mask) if [[ $(bare_mask "$2") == "$(bare_mask "${wants[$1]}")" ]]; then out=("$2"); else out=("${wants[$1]}"); fi ;;
	*) out=("${wants[$1]}") ;;
	esac
	echo "${out[*]-}"
}

# contains A B: whether the list of ports A has every port of B.
contains() {
	local -A have=()
	local part i
	for part in ${1//,/ }; do
		for ((i = ${part%-*}; i <= ${part#*-}; i++)); do have[$i]=1; done
	done
	for part in ${2//,/ }; do
		for ((i = ${part%-*}; i <= ${part#*-}; i++)); do [[ -n ${have[$i]-} ]] || return 1; done
	done
}

bare_mask() { sed 's/,//g; s/^0*//' <<<"$1"; }

# ---- the commands -----------------------------------------------------------
changed=0 refused=0 skipped=0

skip() { # name, why
	echo "skipped: $1: $2"
	skipped=$((skipped + 1))
}
refuse() { # name, why
	echo "refused: $1: $2"
	refused=$((refused + 1))
}
none="not on this kernel, or not in this namespace"

# put writes a value. A file that may not be written is skipped; a value that
# the kernel refuses is an error.
put() { # name, path, value
	local complaint
	if complaint=$({ printf '%s\n' "$3" >"$2"; } 2>&1); then
		return 0
	fi
	case $complaint in
	*"Permission denied"* | *"Read-only"* | *"not permitted"*) skip "$1" "read-only here" ;;
	*"Input/output error"*) skip "$1" "the kernel does not allow a change" ;;
	*"No such file"*) skip "$1" "$none" ;;
	*) refuse "$1" "${complaint##*: }" ;;
	esac
	return 1
}

# saved prints the value of a path from before the first apply.
saved() { # path
	[[ -f $state ]] && awk -F '\t' -v p="${1#"$root"}" '$1 == p { print $2; found = 1 } END { exit !found }' "$state"
}

# each calls a command with the number of every row, its value and its target.
each() {
	local i now
	for i in "${!names[@]}"; do
		if now=$(current "$i"); then
			"$1" "$i" "$now" "$(target "$i" "$now")"
		else
			skip "${names[i]}" "$none"
		fi
	done
}

plan() {
	echo "for $connections connections, of which $fits fit into memory:"
	each plan_row
	printf '  unit %-36s %s\n       %s\n' LimitNOFILE "$nofile" \
		"descriptors of the service: the connections and 32768 more; persist writes it [man 5 systemd.exec]"
	skipped=0
}
plan_row() {
	if [[ $2 == "$3" ]]; then
		printf '  ok   %-36s %s\n' "${names[$1]}" "${2:-none}"
	else
		printf '  set  %-36s %s → %s\n' "${names[$1]}" "${2:-none}" "$3"
	fi
	printf '       %s\n' "${whys[$1]}"
}

apply() {
	mkdir -p "$(dirname "$state")"
	each apply_row
	echo "$changed set, $skipped skipped, $refused refused"
}
apply_row() {
	[[ $2 != "$3" ]] || return 0
	saved "${paths[$1]}" >/dev/null || printf '%s\t%s\n' "${paths[$1]#"$root"}" "$2" >>"$state"
	put "${names[$1]}" "${paths[$1]}" "$3" || return 0
	echo "set: ${names[$1]}: ${2:-none} → $3"
	changed=$((changed + 1))
	local now
	now=$(current "$1")
	[[ $now == "$(target "$1" "$now")" ]] || refuse "${names[$1]}" "the kernel made it ${now:-none}"
}

verify() {
	each verify_row
	echo "$changed differ, $skipped skipped"
	refused=$changed
}
verify_row() {
	[[ $2 != "$3" ]] || return 0
	echo "differs: ${names[$1]}: ${2:-none}, wanted $3"
	changed=$((changed + 1))
}

revert() {
	local path value file left
	if [[ -f $state ]]; then
		left=$(mktemp "$state.XXXXXX")
		while IFS=$'\t' read -r path value; do
			# A value that could not be set has not changed.
			[[ $(raw "$root$path") != "$value" ]] || continue
			if put "$path" "$root$path" "$value"; then
				changed=$((changed + 1))
			else
				printf '%s\t%s\n' "$path" "$value" >>"$left"
			fi
		done <"$state"
		if [[ -s $left ]]; then mv "$left" "$state"; else rm "$left" "$state"; fi
	fi
	for file in "${files[@]}"; do
		ours "$file" && rm "$file" && echo "removed: $file"
	done
	echo "$changed put back, $((skipped + refused)) not"
}

# raw prints the current value of a path of the state.
raw() {
	kinds=(exact) paths=("$1")
	[[ $1 != */transparent_hugepage/* ]] || kinds=(thp)
	current 0 || true
}

mark="# written by tune.sh persist"
ours() { [[ -f $1 ]] && [[ $(head -n 1 "$1") == "$mark"* ]]; }

# persist leaves out values that are better without it, because a file read at
# boot would make them worse.
persist() {
	local file i now next sysctls="" tmpfiles=""
	for file in "${files[@]}"; do
		[[ ! -e $file ]] || ours "$file" || die 1 "$file was not written by tune.sh: move it away"
	done
	for i in "${!names[@]}"; do
		if ! now=$(saved "${paths[i]}" || current "$i"); then
			skip "${names[i]}" "$none"
			continue
		fi
		next=$(target "$i" "$now")
		if [[ $now == "$next" && $now != "${wants[i]}" ]]; then
			echo "left out: ${names[i]}: $now is better"
			continue
		fi
		case ${paths[i]#"$root"} in
		/proc/sys/*) sysctls+="# ${whys[i]}"$'\n'"-${names[i]} = $next"$'\n' ;;
		/sys/*) tmpfiles+="w ${paths[i]#"$root"} - - - - $next"$'\n' ;;
		*) skip "${names[i]}" "interrupts have other numbers after a boot: run apply --nic then" ;;
		esac
	done
	write "${files[0]}" "$sysctls"
	write "${files[1]}" "[Service]"$'\n'"LimitNOFILE=$nofile"$'\n'
	write "${files[2]}" "$tmpfiles"
	write "${files[3]}" "options nf_conntrack hashsize=$(larger 262144 "$tracked")"$'\n'
	echo "then: systemctl daemon-reload && systemctl restart $unit"
}

write() { # file, text
	mkdir -p "$(dirname "$1")"
	printf '%s, for %s connections\n%s' "$mark" "$connections" "$2" >"$1"
	echo "written: $1"
}

# ---- the command line -------------------------------------------------------
command=${1-}
case $command in
plan | apply | verify | revert | persist) shift ;;
-h | --help) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac

root="" connections="" ports=8080-8081,9000-9019 unit=belfry.service nics=() notes=() cpus=()
while (($#)); do
	case $1 in
	-h | --help) usage && exit 0 ;;
	--connections | --ports | --unit | --root) printf -v "${1#--}" %s "${2-}" ;;
	--nic) nics+=("${2-}") ;;
	*) die 2 "$1 is no flag of tune.sh; --help lists them" ;;
	esac
	[[ -n ${2-} ]] || die 2 "$1 needs a value"
	shift 2
done
root=${root%/} port="[1-9][0-9]{0,4}"
[[ $ports =~ ^$port(-$port)?(,$port(-$port)?)*$ ]] || die 2 "--ports: \"$ports\" is not a list such as 8080,9000-9019"

memory=$(($(awk '/^MemTotal:/ { print $2 }' "$root/proc/meminfo" 2>/dev/null || echo $((4 << 20))) * 1024))
# The kernel needs about 4.2 KB for a connection and belfry 256 B; 256 MiB and 5
# % are for everything else. host/size.go has the same figures.
fits=$(((memory - memory / 20 - (256 << 20)) / (4300 + 256)))
((fits > 0)) || fits=1
[[ -n $connections ]] || connections=$(smaller 1000000 $fits)
if ! [[ $connections =~ ^[1-9][0-9]{0,7}$ ]] || ((connections > 16777216)); then
	die 2 "--connections: $connections; allowed are 1 to 16777216"
fi

nofile=$((connections + 32768)) tracked=$((connections * 5 / 4 + 65536))
state=${BELFRY_TUNE_STATE:-$root/var/lib/belfry-tune/state}
files=("$root/etc/sysctl.d/90-belfry.conf" "$root/etc/systemd/system/$unit.d/90-belfry-limits.conf"
	"$root/etc/tmpfiles.d/90-belfry.conf" "$root/etc/modprobe.d/90-belfry.conf")
read_cpus
[[ $command == plan || $command == verify || -n $root ]] || ((EUID == 0)) || die 1 "$command needs root"

for part in descriptors queues ports memory lifetimes conntrack; do "want_$part"; done
for nic in "${nics[@]}"; do want_nic "$nic"; done

"$command"
for note in "${notes[@]}"; do echo "note: $note"; done
((refused == 0)) || exit 1
((skipped == 0)) || exit 3
