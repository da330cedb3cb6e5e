package handover

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// Outcome says how a hand-over ended. It is the label of its metric.
type Outcome string

// Outcomes.
const (
	Served  Outcome = "served"  // the successor serves
	Refused Outcome = "refused" // it did not fit
	Aborted Outcome = "aborted" // it was taken back
)

// Result is what became of a hand-over.
type Result struct {
	Outcome  Outcome       `json:"outcome"`
	PID      int           `json:"pid,omitempty"` // of the successor
	Sessions int           `json:"sessions"`      // that were handed over
	Resumed  int           `json:"resumed"`       // that came back
	Closed   int           `json:"closed"`        // whose state was not known when the successor had died
	Again    int           `json:"again"`         // messages of shards that it had not sent when it died, and that this process sent
	Lost     int           `json:"lost"`          // messages that this process had not kept for that
	Took     time.Duration `json:"took"`          // from the hello to the end
	Silence  time.Duration `json:"silence"`       // of the batch that waited longest
	Error    string        `json:"error,omitempty"`
}

// Phases of a Progress.
const (
	PhaseStarted = "started" // the successor was started
	PhaseOpening = "opening" // it opens everything
	PhaseMoving  = "moving"  // sessions move
)

// Progress is what a hand-over has done so far.
type Progress struct {
	Phase    string `json:"phase"`
	PID      int    `json:"pid,omitempty"`
	Sessions int    `json:"sessions"`
}

// Stats are counters of the old process.
type Stats struct {
	Outcomes map[Outcome]uint64
	Handed   uint64 // sessions that were handed over, also if they came back
	Resumed  uint64
	Closed   uint64
	Again    uint64
	Lost     uint64
}

// tally counts hand-overs.
type tally struct {
	mu sync.Mutex
	st Stats
}

func (t *tally) add(r *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.st.Outcomes == nil {
		t.st.Outcomes = map[Outcome]uint64{}
	}
	t.st.Outcomes[r.Outcome]++
	t.st.Handed += uint64(r.Sessions)
	t.st.Resumed += uint64(r.Resumed)
	t.st.Closed += uint64(r.Closed)
	t.st.Again += uint64(r.Again)
	t.st.Lost += uint64(r.Lost)
}

func (t *tally) snapshot() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.st
	st.Outcomes = maps.Clone(t.st.Outcomes)
	return st
}

// String is the last line that belfry restart prints.
func (r *Result) String() string {
	if r.Outcome == Served {
		return fmt.Sprintf("%d sessions handed over in %v (longest silence %v); the process %d serves", r.Sessions, r.Took.Round(time.Millisecond), r.Silence.Round(100*time.Microsecond), r.PID)
	}
	return fmt.Sprintf("not restarted: %s", r.Error)
}
