package broadcast

import (
	"time"

	"github.com/nats-io/nats.go"
)

// place is the place of a push among all pushes of its node to users: they are numbered
// when they get their first path, in an epoch that rises with each start of the node.
// Unlike the numbers of streams it is the same on every path. The zero value says that
// the node has no routes.
type place struct{ epoch, number uint64 }

// placeSize is an upper bound of the bytes of the header Belfry-Place.
const placeSize = len(headerPlace) + 4 + 16 + 1 + 16

// placeOf reads the header Belfry-Place of a message of a node.
func placeOf(h nats.Header) (p place, err error) {
	text, given, err := one(h, headerPlace)
	if err != nil || !given {
		return place{}, err
	}
	var ok bool
	if p.epoch, p.number, ok = parseSeq(text); !ok {
		return place{}, bad(headerPlace, "allowed is epoch.number")
	}
	return p, nil
}

// inOrder keeps the pushes of a node to the users of a bucket in their order, whatever
// paths they take. Fences do that for nodes that answer them. A node that was stopped, or
// was cut off, answers none; when it is there again, what waits for it on several
// connections arrives in any order. A push that comes behind a later one is lost then,
// as it would be if all had come on the bucket's subject and the numbers of its stream
// had shown it as late. Owned by the receiver's goroutine.
type inOrder struct {
	nodes map[uint32]*placesOf
}

// placesOf are the last places of the pushes of one node that were delivered here, by
// bucket.
type placesOf struct {
	epoch uint64
	at    time.Time
	pages [userBuckets / pageBuckets]*[pageBuckets]uint64
}

// pageBuckets is how many buckets share an allocation: a node that pushes to few users
// takes little.
const pageBuckets = 64

// outcome says what a push is to those before it.
type outcome uint8

const (
	isNext outcome = iota
	isCopy         // it was delivered before
	isLate         // a later one was
)

// take records a push that is about to be delivered, and says whether it may be.
func (o *inOrder) take(node uint32, bucket uint16, p place, now time.Time) outcome {
	if p.epoch == 0 {
		return isNext
	}
	n := o.nodes[node]
	switch {
	case n == nil && len(o.nodes) >= maxPeers:
		return isNext
	case n == nil || p.epoch > n.epoch:
		n = &placesOf{epoch: p.epoch}
		o.nodes[node] = n
	case p.epoch < n.epoch: // of the process before
		return isLate
	}
	n.at = now
	page := n.pages[bucket/pageBuckets]
	if page == nil {
		page = new([pageBuckets]uint64)
		n.pages[bucket/pageBuckets] = page
	}
	switch last := &page[bucket%pageBuckets]; {
	case p.number > *last:
		*last = p.number
		return isNext
	case p.number == *last:
		return isCopy
	}
	return isLate
}

func (o *inOrder) sweep(now time.Time) {
	for node, n := range o.nodes {
		if now.Sub(n.at) > marksForget {
			delete(o.nodes, node)
		}
	}
}

// mayDeliver reports whether a push of a node to users is delivered, and counts it if
// not.
func (r *receiver) mayDeliver(node uint32, bucket uint16, m *nats.Msg, now time.Time) bool {
	p, err := placeOf(m.Header)
	if err != nil {
		r.malformed(m, err)
		return false
	}
	switch r.order.take(node, bucket, p, now) {
	case isCopy:
		r.bus.count.routes.dropped.Add(1)
		return false
	case isLate:
		r.bus.count.routes.late.Add(1)
		return false
	}
	return true
}
