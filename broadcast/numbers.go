package broadcast

import "time"

// Streams nobody sends on are forgotten, by the receivers well after the
// sender: a receiver that still knows a stream then sees its successor's
// larger epoch and not a number that goes back.
const (
	streamIdle     = time.Minute
	streamForget   = 3 * streamIdle
	streamsSweep   = streamIdle / 4
	ownStreams     = 1 << 16 // of this node; above it those announced are forgotten before their time
	maxPeerStreams = 1 << 16 // streams remembered of one node, against a mad peer
	maxPeers       = 4096    // nodes remembered
)

// maxNumber bounds epochs and numbers. Epochs are microseconds since 1970 and
// numbers are counted one by one, so neither gets there; one that is larger is
// no node's.
const maxNumber = 1 << 53

func validNumber(n uint64) bool { return 0 < n && n <= maxNumber }

// numbers gives every bus message of this node its number on its subject.
// Owned by the sender's goroutine.
//
// A stream is this node's messages on one subject, numbered from 1 without
// holes. Its epoch is larger than that of every stream begun before on this
// node, in this process or an earlier one (it starts from the wall clock in
// microseconds, and streams are begun far less often than that).
type numbers struct {
	epoch   uint64 // of the stream begun last
	streams map[string]*outStream
	fresh   []*outStream // sent on since the last beacon
	swept   time.Time
}

type outStream struct {
	subject   string
	epoch     uint64
	last      uint64 // number of the last message sent, 0 if none was
	announced uint64 // last, at the last beacon
	listed    bool   // in fresh
	at        time.Time
}

func newNumbers(start time.Time) *numbers {
	return &numbers{epoch: uint64(start.UnixMicro()), streams: make(map[string]*outStream), swept: start}
}

// stream returns the stream of a subject; its next message is last+1.
func (n *numbers) stream(subject string) *outStream {
	s := n.streams[subject]
	if s == nil {
		n.epoch++
		s = &outStream{subject: subject, epoch: n.epoch}
		n.streams[subject] = s
	}
	return s
}

// used says that the next number of s is gone, arrived or not.
func (n *numbers) used(s *outStream, now time.Time) {
	s.last++
	s.at = now
	if !s.listed {
		s.listed = true
		n.fresh = append(n.fresh, s)
	}
}

// announced says that a beacon with all of fresh was sent.
func (n *numbers) announced() {
	for i, s := range n.fresh {
		s.announced, s.listed = s.last, false
		n.fresh[i] = nil
	}
	n.fresh = n.fresh[:0]
}

// sweep forgets idle streams, now and then, and at once where somebody sends to
// ever new subjects. One that is used again begins anew with a larger epoch.
func (n *numbers) sweep(now time.Time) {
	many := len(n.streams) > ownStreams
	if now.Sub(n.swept) < streamsSweep && !many {
		return
	}
	n.swept = now
	before := len(n.streams)
	for subject, s := range n.streams {
		if !s.listed && (many || now.Sub(s.at) > streamIdle) {
			delete(n.streams, subject)
		}
	}
	if len(n.streams) < before/2 { // maps do not shrink
		kept := make(map[string]*outStream, len(n.streams))
		for subject, s := range n.streams {
			kept[subject] = s
		}
		n.streams = kept
	}
}
