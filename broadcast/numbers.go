package broadcast

import "time"

// The sending node removes idle streams, and receiving nodes remove them well after
// it. So a node that still knows the old stream sees the larger epoch of the next
// one, and never a number that decreases.
const (
	streamIdle     = time.Minute    // after which the sending node removes a stream
	streamForget   = 3 * streamIdle // after which receiving nodes remove it
	streamsSweep   = streamIdle / 4 // between two searches for idle streams
	ownStreams     = 1 << 16        // streams of this node above which announced ones are removed at once
	maxPeerStreams = 1 << 16        // streams remembered of one other node, in case it misbehaves
	maxPeers       = 4096           // other nodes remembered
)

// maxNumber is the largest valid epoch and number. No node reaches it: epochs are
// microseconds since 1970, and numbers are counted one by one.
const maxNumber = 1 << 53

func validNumber(n uint64) bool { return 0 < n && n <= maxNumber }

// numbers numbers the bus messages of this node, for each subject separately.
// Owned by the sender's goroutine.
//
// A stream is this node's messages on one subject, numbered from 1 without
// holes. Its epoch is larger than the epoch of every stream that this node began
// before, in this process or an earlier one. (The first epoch is the wall clock
// in microseconds, and a node begins streams far less often than once in a
// microsecond.)
type numbers struct {
	epoch   uint64 // of the newest stream
	streams map[string]*outStream
	fresh   []*outStream // streams with messages since the last beacon
	swept   time.Time
}

type outStream struct {
	subject   string
	epoch     uint64
	last      uint64    // number of the last message sent, 0 for none
	announced uint64    // value of last at the last beacon
	listed    bool      // the stream is in fresh
	at        time.Time // when the last message was sent
}

func newNumbers(start time.Time) *numbers {
	return &numbers{epoch: uint64(start.UnixMicro()), streams: make(map[string]*outStream), swept: start}
}

// stream returns the stream of a subject. The number of its next message is
// last+1.
func (n *numbers) stream(subject string) *outStream {
	s := n.streams[subject]
	if s == nil {
		n.epoch++
		s = &outStream{subject: subject, epoch: n.epoch}
		n.streams[subject] = s
	}
	return s
}

// used records that the next number of s was sent, whether it arrived or not.
func (n *numbers) used(s *outStream, now time.Time) {
	s.last++
	s.at = now
	if !s.listed {
		s.listed = true
		n.fresh = append(n.fresh, s)
	}
}

// announced records that a beacon with all streams of fresh was sent.
func (n *numbers) announced() {
	for i, s := range n.fresh {
		s.announced, s.listed = s.last, false
		n.fresh[i] = nil
	}
	n.fresh = n.fresh[:0]
}

// sweep removes idle streams once in every streamsSweep. If there are more than
// ownStreams, as with a publisher that always uses new subjects, it removes
// every announced stream at once. The next message on the subject of a removed
// stream begins a new stream with a larger epoch.
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
