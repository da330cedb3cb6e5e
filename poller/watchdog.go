package poller

import (
	"time"

	"go.uber.org/zap"

	"belfry/ticker"
)

// staleTick is the age of a shard's last tick from which on it is reported.
const staleTick = 5 * time.Second

// watch checks the age of each shard's last tick once a second. netpoll's poller
// can end without an error, and a handler can hang: both stop the shard's clock.
func (l *Loop) watch() {
	defer l.watchdogDone.Done()
	t := ticker.New(time.Second)
	defer t.Stop()
	w := watchdog{stale: make([]int, len(l.shards))}
	for {
		select {
		case <-l.watched:
			return
		case <-t.C:
			for i, s := range l.shards {
				w.look(l.opt.Log, i, s.tickAge())
			}
		}
	}
}

// watchdog reports shards that do not run.
type watchdog struct {
	stale []int // by shard: checks in a row in which its last tick was too old
}

// look checks one shard. It reports the shard after two checks in a row: if the
// whole process was stopped, all ticks are old at the first check.
func (w *watchdog) look(log *zap.Logger, shard int, age time.Duration) {
	if age < staleTick {
		if w.stale[shard] >= 2 {
			log.Warn("shard runs again", zap.Int("shard", shard))
		}
		w.stale[shard] = 0
		return
	}
	if w.stale[shard]++; w.stale[shard] == 2 {
		log.Error("shard does not run: its connections are not served", zap.Int("shard", shard), zap.Duration("for", age))
	}
}
