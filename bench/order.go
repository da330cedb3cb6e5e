package bench

// Tally counts what became of the messages of one stream.
type Tally struct {
	Received   uint64 `json:"received"`   // all arrivals, faulty or not
	Lost       uint64 `json:"lost"`       // skipped and not arrived since
	Duplicated uint64 `json:"duplicated"` // seen before
	Reordered  uint64 `json:"reordered"`  // arrived after a later one
	Stale      uint64 `json:"stale"`      // more than 64 behind: duplicated or reordered, which cannot be distinguished
}

// Faults returns the sum of the counts that should be 0.
func (t Tally) Faults() uint64 { return t.Lost + t.Duplicated + t.Reordered + t.Stale }

// Add adds u to t.
func (t *Tally) Add(u Tally) {
	t.Received += u.Received
	t.Lost += u.Lost
	t.Duplicated += u.Duplicated
	t.Reordered += u.Reordered
	t.Stale += u.Stale
}

// Order checks the sequence numbers of one stream on one connection. It is the
// replay window of RFC 4303 §3.4.3, used for counting.
type Order struct {
	seen uint64 // bit i: number next-1-i has arrived
	next uint32 // one past the highest number so far
}

// StartAt makes next the first expected number. Lower numbers count as
// duplicated, because the connection should not get them.
func (o *Order) StartAt(next uint32) { *o = Order{seen: ^uint64(0), next: next} }

// Next returns one past the highest number seen.
func (o *Order) Next() uint32 { return o.next }

// Take counts the arrival of seq in t.
func (o *Order) Take(seq uint32, t *Tally) {
	t.Received++
	if seq >= o.next {
		skipped := seq - o.next
		t.Lost += uint64(skipped)
		o.seen = o.seen<<(uint64(skipped)+1) | 1 // a shift of 64 and more gives 0
		o.next = seq + 1
		return
	}
	behind := o.next - 1 - seq
	switch bit := uint64(1) << behind; {
	case behind >= 64:
		t.Stale++
	case o.seen&bit != 0:
		t.Duplicated++
	default:
		o.seen |= bit
		t.Reordered++
		t.Lost--
	}
}
