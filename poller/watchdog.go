package poller

import (
	"time"

	"go.uber.org/zap"
)

// staleTick is how old a shard's last tick may get before it is reported.
const staleTick = 5 * time.Second

// watch looks at the age of each shard's last tick. netpoll's poller can end
// without a word, and a handler can hang; either stops the shard's clock.
func (l *Loop) watch() {
	defer l.watchdogDone.Done()
	t := time.NewTicker(time.Second)
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

// watchdog remembers which shards it has reported.
type watchdog struct{ stale []int } // looks in a row at which a shard was too late

// look judges one shard. It takes two looks in a row, so that a process that
// was stopped as a whole does not accuse its shards when it wakes.
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
