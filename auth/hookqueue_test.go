package auth

import (
	"testing"
	"testing/synctest"
	"time"
)

// A storm against a backend that hangs starts few calls at once, and the others one
// after the other.
func TestHookQueueGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, jobs = 100, 300
		q := &hookQueue{workers: workers, maxBytes: 1 << 30}
		hang, done := make(chan struct{}), 0
		for range jobs {
			q.add(func() {
				<-hang
				q.mu.Lock()
				done++
				q.mu.Unlock()
			})
		}
		running := func() int {
			synctest.Wait()
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.running
		}
		if n := running(); n != startAtOnce {
			t.Errorf("%d workers at once, want %d", n, startAtOnce)
		}
		time.Sleep(10 * patience * startEvery)
		if n := running(); n != startAtOnce+10 {
			t.Errorf("%d workers after 10 steps, want %d", n, startAtOnce+10)
		}
		time.Sleep(time.Second)
		if n := running(); n != workers {
			t.Errorf("%d workers after a second, want %d", n, workers)
		}
		if waiting, _, _ := q.load(); waiting != jobs-workers {
			t.Errorf("%d jobs wait, want %d", waiting, jobs-workers)
		}
		close(hang)
		if n := running(); n != 0 || done != jobs {
			t.Errorf("%d jobs done, %d workers left", done, n)
		}
		q.close()
		if q.growing {
			t.Error("workers are still being started")
		}
	})
}

// A backend that answers soon has all workers at work: one more every millisecond.
func TestHookQueueGrowsWithAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 100
		q := &hookQueue{workers: workers, maxBytes: 1 << 30}
		ended := make(chan struct{})
		for range 5000 {
			q.add(func() {
				select {
				case <-time.After(startEvery / 2):
				case <-ended:
				}
			})
		}
		for _, ms := range []int{10, 40} {
			time.Sleep(time.Duration(ms) * startEvery)
			synctest.Wait()
			q.mu.Lock()
			if want := startAtOnce + ms; q.running < want {
				t.Errorf("%d workers after %d ms, want %d", q.running, ms, want)
			}
			q.mu.Unlock()
		}
		close(ended)
		synctest.Wait()
		q.close()
	})
}

// A closed queue starts no more workers, and close waits for the goroutine that would.
func TestHookQueueClosedWhileGrowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &hookQueue{workers: 100, maxBytes: 1 << 30}
		hang := make(chan struct{})
		for range 50 {
			q.add(func() { <-hang })
		}
		closed := make(chan struct{})
		go func() { q.close(); close(closed) }()
		time.Sleep(time.Second)
		q.mu.Lock()
		if q.running != startAtOnce || q.growing {
			t.Errorf("%d workers, growing: %v", q.running, q.growing)
		}
		q.mu.Unlock()
		close(hang)
		<-closed
		if waiting, _, _ := q.load(); waiting != 0 {
			t.Errorf("%d jobs wait for ever", waiting)
		}
	})
}
