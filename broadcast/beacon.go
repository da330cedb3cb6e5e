package broadcast

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// beaconPart is the size in bytes above which a beacon continues in a further
// message.
const beaconPart = 16 << 10

// beacon is one message on belfry.ctl.beacon: it names its node, and the last
// number of each stream with messages since the previous beacon. A beacon that
// does not fit into one message is sent in parts with the same round.
type beacon struct {
	node     uint32
	name     string
	instance string // different for each process
	round    uint64 // counts the node's beacons from 1
	maxEpoch uint64 // streams with a larger epoch began after this beacon
	status   Status // from the headers of a beacon that was received
	entries  []beaconEntry
}

// beaconEntry says that the node sent the numbers prev+1 to last on subject since
// its previous beacon.
type beaconEntry struct {
	subject           string
	epoch, prev, last uint64
}

// appendHead appends the first line of each part.
func (b *beacon) appendHead(dst []byte) []byte {
	return fmt.Appendf(dst, "belfry 1 %s %s %s %d %d\n", nodeString(b.node), b.name, b.instance, b.round, b.maxEpoch)
}

// appendEntry appends one further line.
func appendEntry(dst []byte, e beaconEntry) []byte {
	dst = append(dst, e.subject...)
	for _, v := range [...]uint64{e.epoch, e.prev, e.last} {
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, v, 10)
	}
	return append(dst, '\n')
}

// parseBeacon reads one part.
func parseBeacon(p []byte) (*beacon, error) {
	if len(p) > 4*beaconPart {
		return nil, bad("beacon", fmt.Sprintf("%d bytes; a part has about %d", len(p), beaconPart))
	}
	if len(p) == 0 {
		return nil, bad("beacon", "empty")
	}
	line, rest := cutLine(p)
	f := strings.Split(string(line), " ")
	if len(f) != 7 || f[0] != "belfry" || f[1] != "1" {
		return nil, bad("beacon", "the first line is not: belfry 1 node name instance round max-epoch")
	}
	b := &beacon{name: f[3], instance: f[4]}
	var ok bool
	if b.node, ok = parseNode(f[2]); !ok || !nodeName(b.name) || !nodeName(b.instance) {
		return nil, bad("beacon", "invalid node id, name or instance")
	}
	if !parseUints(f[5:], &b.round, &b.maxEpoch) || !validNumber(b.round) || b.maxEpoch > maxNumber {
		return nil, bad("beacon", "invalid round or max-epoch")
	}
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		f := strings.Split(string(line), " ")
		e := beaconEntry{subject: f[0]}
		if len(f) != 4 || !parseUints(f[1:], &e.epoch, &e.prev, &e.last) || e.prev > e.last ||
			!validNumber(e.epoch) || e.last > maxNumber {
			return nil, bad("beacon", "a line is not: subject epoch prev last")
		}
		b.entries = append(b.entries, e)
	}
	return b, nil
}

// cutLine returns the first line of p and what follows it. Both are parts of p.
func cutLine(p []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(p, []byte("\n"))
	return line, rest
}

func parseUints(fields []string, to ...*uint64) bool {
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return false
		}
		*to[i] = v
	}
	return true
}
