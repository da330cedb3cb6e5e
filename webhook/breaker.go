package webhook

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Caller stands for the client that a call is made for. The breaker compares
// callers: what one client does must not keep the others from a backend. The zero
// Caller is a client like any other.
type Caller uint64

var callerSeed = maphash.MakeSeed()

// CallerOf returns the Caller of a user. If uid is "", the caller is the address,
// as limits count it.
func CallerOf(uid string, address netip.Prefix) Caller {
	if uid != "" {
		return Caller(maphash.String(callerSeed, uid))
	}
	return Caller(maphash.Comparable(callerSeed, address))
}

// breaker decides whether a URL is called. It is open, and calls are kept away,
// after failures of several callers. After a pause it is probed. Any goroutine may
// use it.
type breaker struct {
	failures int // in a row, that open it
	callers  int // that must have had one of these; as many may probe
	pause    time.Duration
	changed  func(open bool) // when the URL is left alone, and when it works again

	mu     sync.Mutex // guards what follows
	state  breakerState
	period int       // number of changes of state; a call counts only in the period in which it began
	until  time.Time // end of the pause, or of a round of probes
	row    int       // failures since the last success
	who    []Caller  // of the failures in row, or of the probes of this round; at most callers
	probes int       // that are not answered yet
	failed int       // probes of this round that have failed
	recent tally
}

type breakerState uint8

const (
	breakerClosed breakerState = iota // calls are made
	breakerOpen                       // calls are not made
	breakerProbed                     // calls of some callers are made
)

// minCallers is how many callers must have had failures before a URL is left
// alone. One client can ask for what makes a backend fail as often as it likes. Two
// are a client and somebody whose call failed by chance. A backend that is down
// fails for everybody, so that the third caller comes soon.
const minCallers = 3

func newBreaker(failures int, pause time.Duration, changed func(open bool)) *breaker {
	n := min(minCallers, failures)
	return &breaker{failures: failures, callers: n, pause: pause, changed: changed, who: make([]Caller, 0, n)}
}

// attempt is a call that the breaker has let through.
type attempt struct {
	caller Caller
	period int
}

// enter says whether the URL may be called. The caller must pass the attempt to
// leave.
func (b *breaker) enter(caller Caller, now time.Time) (a attempt, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == breakerClosed:
		return attempt{caller, b.period}, true
	case now.Before(b.until):
	case b.state == breakerOpen:
		b.set(breakerProbed, now)
	case b.probes == 0: // too few callers have come to decide
		b.newRound(now)
	}
	// A call that fails for one client must not keep the URL closed to others, so
	// that several may probe, each once in a round.
	if b.state == breakerOpen || len(b.who) == b.callers || slices.Contains(b.who, caller) {
		return a, false
	}
	b.who = append(b.who, caller)
	b.probes++
	return attempt{caller, b.period}, true
}

// leave takes the error of an attempt; nil if there is none.
func (b *breaker) leave(a attempt, err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.period != b.period {
		return
	}
	probe := b.state == breakerProbed
	if probe {
		b.probes--
	}
	switch {
	case outcomeOf(err) == outcomeCanceled: // says nothing about the backend
		if i := slices.Index(b.who, a.caller); probe && i >= 0 {
			b.who = slices.Delete(b.who, i, i+1)
		}
	case !isFailure(err) && probe:
		b.set(breakerClosed, now)
	case !isFailure(err):
		b.row, b.who = 0, b.who[:0]
		b.recent.age(now)
		b.recent.successes++
	case probe:
		// No client has a part in that no connection is made.
		if b.failed++; b.failed == b.callers || isDial(err) {
			b.set(breakerOpen, now)
		}
	case b.trips(a.caller, isDial(err), now):
		b.set(breakerOpen, now)
	}
}

// trips counts a failure and says whether it opens the breaker.
func (b *breaker) trips(caller Caller, dial bool, now time.Time) bool {
	if b.row++; len(b.who) < b.callers && (dial || !slices.Contains(b.who, caller)) {
		b.who = append(b.who, caller)
	}
	b.recent.age(now)
	b.recent.fail(caller, dial)
	if b.row >= b.failures && len(b.who) == b.callers {
		return true
	}
	// The second rule is for a URL that fails often but not always.
	n := b.recent.failures - b.recent.most(b.callers-1)
	return n >= 4*b.failures && n > b.recent.successes
}

func (b *breaker) set(s breakerState, now time.Time) {
	was := b.state
	b.state, b.row, b.probes, b.recent = s, 0, 0, tally{begun: now}
	b.period++
	b.newRound(now)
	if s == breakerClosed || was == breakerClosed {
		b.changed(s == breakerOpen)
	}
}

func (b *breaker) newRound(now time.Time) {
	b.until, b.who, b.failed = now.Add(b.pause), b.who[:0], 0
}

// refuses says whether enter would refuse every caller.
func (b *breaker) refuses(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case breakerOpen:
		return now.Before(b.until)
	case breakerProbed:
		return len(b.who) == b.callers // until the last probe is answered
	}
	return false
}

// open says whether calls are kept away and no probe is due yet.
func (b *breaker) open(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == breakerOpen && now.Before(b.until)
}

// tally counts the calls of about the last countsFor.
type tally struct {
	begun               time.Time
	failures, successes int
	by                  [64]uint32 // failures by hash of the caller
}

// countsFor is how long failures are remembered.
const countsFor = 10 * time.Second

// age forgets half of what was counted, for each half of countsFor.
func (t *tally) age(now time.Time) {
	n := min(now.Sub(t.begun)/(countsFor/2), 32)
	if n <= 0 {
		return
	}
	t.begun = now
	t.failures >>= n
	t.successes >>= n
	for i := range t.by {
		t.by[i] >>= n
	}
}

func (t *tally) fail(caller Caller, dial bool) {
	t.failures++
	if !dial {
		t.by[caller%Caller(len(t.by))]++
	}
}

// most returns how many failures those n callers had that had most.
func (t *tally) most(n int) (sum int) {
	by := t.by
	slices.Sort(by[:])
	for _, failures := range by[len(by)-n:] {
		sum += int(failures)
	}
	return sum
}
