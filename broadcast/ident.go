package broadcast

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync/atomic"
	"time"
)

// identity makes message ids that are unique in the cluster. An id has three
// parts: the node id, the start of the process in microseconds and a counter,
// the last two in base 36. next may be called from any goroutine.
type identity struct {
	prefix string
	count  atomic.Uint64
}

func newIdentity(node uint32, start time.Time) *identity {
	return &identity{prefix: nodeString(node) + "-" + strconv.FormatInt(start.UnixMicro(), 36) + "-"}
}

func (i *identity) next() string {
	var b [48]byte
	p := append(b[:0], i.prefix...)
	return string(strconv.AppendUint(p, i.count.Add(1), 36))
}

// newInstance returns a name for this process that no other process has.
func newInstance() string {
	var r [6]byte
	rand.Read(r[:]) // never fails
	return hex.EncodeToString(r[:])
}
