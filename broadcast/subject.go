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
	subjectTopic   = "belfry.topic." // and the topic
	subjectUser    = "belfry.user."  // and the bucket, decimal
	subjectNode    = "belfry.node."  // and the node id, 8 hexadecimal digits
	subjectControl = "belfry.ctl."
	subjectBeacon  = subjectControl + "beacon"
	subjectPeers   = subjectControl + "peers"
	subjectUsers   = subjectUser + "*"
)

// buckets is the number of subjects users are spread over. It is part of the
// protocol: all nodes and publishers must agree.
const buckets = 4096

// Bucket returns the number of the subject that pushes to uid travel on, 0 to
// 4095: the CRC-32 (IEEE) of the uid modulo 4096.
func Bucket(uid string) uint16 { return uint16(crc32.ChecksumIEEE([]byte(uid)) % buckets) }

// bucketOf is Bucket for borrowed bytes; it does not allocate.
func bucketOf(uid []byte) uint16 { return uint16(crc32.ChecksumIEEE(uid) % buckets) }

// NodeID returns the id of the node with that name: its FNV-1a 32.
func NodeID(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}

func bucketSubject(b uint16) string { return subjectUser + strconv.Itoa(int(b)) }

func nodeSubject(id uint32) string { return subjectNode + nodeString(id) }

func nodeString(id uint32) string { return fmt.Sprintf("%08x", id) }

// parseNode reads what nodeString wrote.
func parseNode(s string) (uint32, bool) {
	if len(s) != 8 || strings.ToLower(s) != s {
		return 0, false
	}
	id, err := strconv.ParseUint(s, 16, 32)
	return uint32(id), err == nil
}

// parseBucket reads the last token of a user subject; only the canonical
// decimal form is one.
func parseBucket(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n >= buckets || strconv.FormatUint(n, 10) != s {
		return 0, false
	}
	return uint16(n), true
}
