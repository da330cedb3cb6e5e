package poller

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const (
	stoppedText = "shard does not run: its connections are not served"
	againText   = "shard runs again"
)

func TestWatchdogLooks(t *testing.T) {
	const s = time.Second
	for name, trial := range map[string]struct {
		ages []time.Duration
		want []string
	}{
		"in time":                 {[]time.Duration{0, s, 4 * s, 0}, nil},
		"late once":               {[]time.Duration{s, 6 * s, s, 7 * s, s}, nil}, // the whole process was stopped
		"stopped":                 {[]time.Duration{s, 5 * s, 6 * s, 7 * s, 8 * s, 9 * s}, []string{stoppedText}},
		"stopped and back":        {[]time.Duration{6 * s, 7 * s, 8 * s, s, 2 * s, 0}, []string{stoppedText, againText}},
		"stopped, back, stopped":  {[]time.Duration{6 * s, 7 * s, s, 6 * s, 7 * s}, []string{stoppedText, againText, stoppedText}},
		"late, in time, and late": {[]time.Duration{6 * s, s, 6 * s, s, 6 * s, 7 * s}, []string{stoppedText}},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zapcore.InfoLevel)
			w := watchdog{stale: make([]int, 2)}
			for _, age := range trial.ages {
				w.look(zap.New(core), 0, 0)
				w.look(zap.New(core), 1, age)
			}
			var got []string
			for _, e := range logs.All() {
				got = append(got, e.Message)
				if e.ContextMap()["shard"] != int64(1) {
					t.Errorf("%q of shard %v", e.Message, e.ContextMap()["shard"])
				}
			}
			if len(got) != len(trial.want) {
				t.Fatalf("said %q, want %q", got, trial.want)
			}
			for i := range got {
				if got[i] != trial.want[i] {
					t.Errorf("said %q, want %q", got[i], trial.want[i])
				}
			}
		})
	}
}

// A handler hangs: the age of the shard's last tick grows, and the watchdog reports
// it once, and once more when the shard runs again.
func TestBlockedShardIsReported(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	ticked := make(chan struct{}, 64)
	l, err := New(Options{Shards: 2, Log: zap.New(core), NewHandler: func(s *Shard) Handler {
		h := &echoHandler{s: s, reasons: make(chan Reason, 1), timers: make(chan uint32, 1), mail: runMail}
		if s.Index() == 1 {
			return tickTeller{h, ticked}
		}
		return h
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	r := &rig{Loop: l, t: t}
	t.Cleanup(func() { closeLoop(t, l) })
	select {
	case <-ticked:
	case <-time.After(time.Minute):
		t.Fatal("the shard's own timer does not tick")
	}
	if st := l.Stats(); st.TickAge > staleTick.Seconds() || len(st.TickAges) != 2 {
		t.Errorf("tick ages %v", st.TickAges)
	}
	release := r.block(1)
	eventually(t, "a tick that is overdue", func() bool { return l.Stats().TickAges[1] > 1.2 })
	if st := l.Stats(); st.TickAge != st.TickAges[1] && st.TickAge < st.TickAges[1] {
		t.Errorf("the greatest age is %v of %v", st.TickAge, st.TickAges)
	}
	// As if it had hung for as long as the watchdog waits.
	l.Shard(1).timers.last.Add(-int64(staleTick))
	eventually(t, "a report", func() bool { return logs.FilterMessage(stoppedText).Len() == 1 })
	release()
	eventually(t, "the end of it", func() bool { return logs.FilterMessage(againText).Len() == 1 })
	if n := logs.FilterMessage(stoppedText).Len(); n != 1 {
		t.Errorf("reported %d times", n)
	}
	if st := l.Stats(); st.TickAges[1] > staleTick.Seconds() {
		t.Errorf("tick ages %v after it went on", st.TickAges)
	}
}

// tickTeller reports ticks.
type tickTeller struct {
	*echoHandler
	ticked chan struct{}
}

func (h tickTeller) OnTick() {
	select {
	case h.ticked <- struct{}{}:
	default:
	}
}
