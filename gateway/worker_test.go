package gateway

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Some workers stay when no session waits for a call, and make the next calls. The
// others end, and Shutdown ends those that stay (synctest fails if it does not).
func TestSpareWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions = 2 * maxSpare
		b := tardy()
		g := start(t, newNode(), Options{Routes: []Route{{Backend: b, InFlight: sessions}}})
		spare := func() int {
			synctest.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.spare)
		}
		send := func(n int) {
			for i := range n {
				g.Received(client(g, fmt.Sprint("s", i)), text("x"))
			}
		}
		for round := range 3 {
			send(sessions)
			if n := spare(); n != 0 || len(b.got()) != (round+1)*(sessions+1)-1 {
				t.Errorf("%d calls with %d spare workers, want %d and none", len(b.got()), n, (round+1)*(sessions+1)-1)
			}
			time.Sleep(slow)
			if n := spare(); n != maxSpare {
				t.Errorf("%d spare workers, want %d", n, maxSpare)
			}
			send(1)
			if n := spare(); n != maxSpare-1 {
				t.Errorf("%d spare workers while another makes a call, want %d", n, maxSpare-1)
			}
			time.Sleep(slow)
		}
		stop(g)
		if n := spare(); n != 0 {
			t.Errorf("%d spare workers after Shutdown", n)
		}
	})
}
