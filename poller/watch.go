package poller

// Fate is what became of a watched frame that the kernel did not take completely at
// once.
type Fate uint8

const (
	FateQueued  Fate = iota // it waits in the backlog; a policy may still drop it there
	FateDropped             // the policy dropped it
	FateRefused             // the backlog is full; OnSendFailed follows
	FateEnded               // nothing can be sent to the connection any more
	FateCount
)

// Watcher is told of shared frames that the kernel did not take completely at once.
// Of all other frames that were sent the kernel took every byte: so watching costs
// nothing where clients read what they get.
type Watcher interface {
	// Unsent says what became of a frame for the connection in a slot of a shard.
	// It is called once for each frame and connection, on the shard's goroutine,
	// within Send or Submit. It must neither block nor send.
	Unsent(shard int, slot uint32, f Fate)
}

// NewWatchedFrame is NewFrame for a frame whose sends are watched.
func NewWatchedFrame(b []byte, key uint64, w Watcher) *Frame {
	return &Frame{b: b, key: key, watcher: w}
}

// Size returns the bytes of all frames.
func (f *Frames) Size() int { return len(f.bytes) }

// Adopted says whether a connection came through Loop.Adopt, also if it was moved
// to another shard since.
func (s *Shard) Adopted(slot uint32) bool { return s.at(slot).flags&flagAdopted != 0 }

// tellUnsent tells the watcher of a frame, if it has one.
func (x *sender) tellUnsent(slot uint32, f *Frame, r SendResult, fits bool) {
	if f.watcher == nil {
		return
	}
	fate := FateRefused
	switch {
	case fits:
		fate = FateQueued // also if an older frame was dropped for it
	case r == sendClosed:
		fate = FateEnded
	case r == sendDropped:
		fate = FateDropped
	}
	f.watcher.Unsent(x.shard, slot, fate)
}

// tellRest tells the watchers of all frames of a payload but those that are within
// its first sent bytes.
func (x *sender) tellRest(slot uint32, p *Payload, sent int, r SendResult) {
	if p.frames == nil {
		return
	}
	for _, f := range p.frames.list {
		if sent -= len(f.b); sent < 0 {
			x.tellUnsent(slot, f, r, false)
		}
	}
}
