package broadcast

import (
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"strconv"
	"strings"
)

// Subjects of the bus; docs/bus.md is their specification.
const (
	subjectAll     = "belfry.all"
	subjectTopic   = "belfry.topic." // followed by the topic
	subjectUser    = "belfry.user."  // followed by the user bucket, decimal
	subjectNode    = "belfry.node."  // followed by the node id, 8 hexadecimal digits
	subjectControl = "belfry.ctl."
	subjectBeacon  = subjectControl + "beacon"
	subjectPeers   = subjectControl + "peers"
	subjectReport  = subjectControl + "report" // see report.go
	subjectEvery   = subjectControl + "all"    // commands to all nodes, see control.go
	subjectOne     = subjectControl + "node."  // commands to one node, and answers; followed by the node id
	subjectFence   = subjectControl + "fence"  // fences, see route.go
	subjectRoute   = subjectControl + "route." // what homes and nodes answer to one publishing node; followed by the node id
	subjectUsers   = subjectUser + "*"
	subjectRelay   = "belfry.relay." // relays to a home; followed by the node id
	subjectRelays  = subjectRelay + "*"
)

// userBuckets is the number of groups of users, each of which has a subject. It is
// part of the protocol: all nodes and publishers must use the same number.
const userBuckets = 4096

// UserBucket returns the user bucket of a uid, 0 to 4095: the CRC-32 (IEEE) of the
// uid modulo 4096. Pushes to the user go to the subject of this user bucket.
func UserBucket(uid string) uint16 { return uint16(crc32.ChecksumIEEE([]byte(uid)) % userBuckets) }

// UserBucketOf is UserBucket for borrowed bytes; it does not allocate.
func UserBucketOf(uid []byte) uint16 { return uint16(crc32.ChecksumIEEE(uid) % userBuckets) }

// NodeID returns the id of the node with that name: the FNV-1a 32 hash of the name.
func NodeID(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}

func userBucketSubject(b uint16) string { return subjectUser + strconv.Itoa(int(b)) }

func nodeSubject(id uint32) string { return subjectNode + nodeString(id) }

func controlSubject(node uint32) string { return subjectOne + nodeString(node) }

func relaySubject(home uint32) string { return subjectRelay + nodeString(home) }

func routeSubject(node uint32) string { return subjectRoute + nodeString(node) }

func nodeString(id uint32) string { return fmt.Sprintf("%08x", id) }

// parseNode parses the output of nodeString.
func parseNode(s string) (uint32, bool) {
	if len(s) != 8 || strings.ToLower(s) != s {
		return 0, false
	}
	id, err := strconv.ParseUint(s, 16, 32)
	return uint32(id), err == nil
}

// parseUserBucket parses the last token of a user subject. It accepts only the
// canonical decimal form.
func parseUserBucket(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n >= userBuckets || strconv.FormatUint(n, 10) != s {
		return 0, false
	}
	return uint16(n), true
}
