package cluster

import (
	"fmt"
	"hash/crc32"
	"hash/fnv"

	"belfry/bench"
)

// uid returns a user of a node.
func uid(node, user int) string { return string(bench.AppendUID(prefix(node), user)) }

// prefix is what the users of a node have in front.
func prefix(node int) []byte { return fmt.Appendf(nil, "n%d-", node) }

// home returns the number of the node that is the home of a user, and second that of
// the node which would be if that did not exist, among the first nodes (docs/cluster.md:
// rendezvous hashing). If it were wrong, the counts of messages would show it.
func home(uid string, nodes int) (home, second int) {
	bucket := uint64(crc32.ChecksumIEEE([]byte(uid)) % 4096)
	var most, next uint64
	for i := range nodes {
		h := fnv.New32a()
		fmt.Fprintf(h, "bench-%d", i) // the name that target.Belfry gives it
		switch w := mix(uint64(h.Sum32())<<16 | bucket); {
		case w > most:
			next, second = most, home
			most, home = w, i
		case w > next:
			next, second = w, i
		}
	}
	return home, second
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// kept returns how many sessions the last of some nodes keeps for the first three.
func (o *Options) kept(nodes int) (sessions int) {
	for node := range three {
		for user := range o.users() {
			keeper, second := home(uid(node, user), nodes)
			if keeper == node {
				keeper = second
			}
			if keeper == nodes-1 {
				sessions += o.PerUser
			}
		}
	}
	return sessions
}

// users is the number of users of each node.
func (o *Options) users() int { return o.Connections / o.PerUser }
