package session

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
)

// Sockets connect, subscribe and leave at random while numbered messages go to
// all, to topics and to users. Clients that stay miss nothing, get nothing twice,
// and get each target's messages in order; clients that come and go get nothing
// that was meant for somebody else, whose descriptor or slot they may have.
func TestChurn(t *testing.T) {
	connects := int64(2500)
	if testing.Short() || raceDetector {
		connects = 800
	}
	large := poller.Bounds{Frames: 1 << 20, Bytes: 1 << 30}
	r := newRig(t, Options{Poller: poller.Options{Shards: 3, Chunk: 1, Backlog: large}}) // chunks of 1 ns: as many as can be
	targets := churnTargets()
	var stay []*stayer
	for i := range 90 {
		s, err := r.stayer(i, targets)
		if err != nil {
			t.Fatal(err)
		}
		stay = append(stay, s)
	}
	var left atomic.Int64
	var over atomic.Bool
	left.Store(connects)
	var comers, publishers, readers sync.WaitGroup
	for range 25 {
		comers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := r.comeAndGo(targets); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, s := range stay {
		readers.Go(func() {
			if err := s.read(); err != nil {
				t.Errorf("after %v: %v", s.last, err)
			}
		})
	}
	for i := range targets {
		publishers.Go(func() { targets[i].publish(t, r, &over) })
	}
	comers.Wait()
	over.Store(true)
	publishers.Wait()
	readers.Wait()
	for i := range targets {
		if targets[i].sent < 20 {
			t.Errorf("%d messages to %v", targets[i].sent, targets[i].to)
		}
	}
	for _, s := range stay {
		s.Close()
	}
	eventually(t, "all gone", func() bool {
		st := r.Stats()
		return st.Poller.Connections == 0 && st.Sessions == 0
	})
	r.tablesEmpty()
}

// tablesEmpty sees that no table of any shard has an entry.
func (r *rig) tablesEmpty() {
	r.each(func(h *shard) {
		ts := &h.topics
		if n := ts.len() + ts.table.Len() + ts.links.Len() + ts.names.Len() + h.users.table.Len() + h.users.uids.Len() + h.upgrades.index.Len() + h.assembly.index.Len(); n != 0 {
			r.t.Errorf("shard %d: %d entries left in tables", h.index, n)
		}
	})
}

// churnTarget is somebody that numbered messages go to. Window holds a place
// for each that its first stayer has not had yet.
type churnTarget struct {
	to     message.Target
	sent   int
	window chan struct{}
	paced  bool
}

func churnTargets() []*churnTarget {
	var all []*churnTarget
	for _, to := range []message.Target{
		message.ToAll(), message.ToTopics("big"), message.ToTopics("small"), message.ToTopics("big", "small", "none"), message.ToTopics("small", "coming"),
		message.ToUsers("user-1"), message.ToUsers("user-2", "user-3"),
	} {
		all = append(all, &churnTarget{to: to, window: make(chan struct{}, 24)})
	}
	return all
}

func (c *churnTarget) label() string { return fmt.Sprintf("%v%v", c.to.Scope, c.to.Names) }

// publish sends until no client comes any more.
func (c *churnTarget) publish(t *testing.T, r *rig, over *atomic.Bool) {
	for last := false; !last; {
		select {
		case c.window <- struct{}{}:
		case <-time.After(time.Minute):
			t.Errorf("message %d to %s never came", c.sent-cap(c.window), c.label())
			return
		}
		last = over.Load()
		c.sent++
		text := fmt.Sprintf("%s#%d#%v", c.label(), c.sent, last)
		for r.push(&message.Message{Target: c.to, Payload: []byte(text)}) != nil {
			gosched()
		}
	}
}

// profile is who a client is.
type profile struct {
	uid    string
	topics []string
}

// stayerProfile returns the profile of the i-th client that stays.
func stayerProfile(i int) profile {
	p := profile{fmt.Sprint("user-", i%5), []string{"big"}}
	if i%4 < 2 {
		p.topics = append(p.topics, "small")
	}
	return p
}

// reaches says whether messages to the target go to p.
func (c *churnTarget) reaches(p profile) bool {
	return c.to.Scope == message.ScopeAll || slices.ContainsFunc(c.to.Names, func(n string) bool { return n == p.uid || slices.Contains(p.topics, n) })
}

// stayer is a client that stays.
type stayer struct {
	*rawConn
	v1   bool
	last map[string]int           // number of the last message, by target
	pace map[string]chan struct{} // windows of the targets of which it is the first
}

// stayer opens the i-th.
func (r *rig) stayer(i int, targets []*churnTarget) (*stayer, error) {
	p := stayerProfile(i)
	s := &stayer{v1: i%3 == 1, last: map[string]int{}, pace: map[string]chan struct{}{}}
	for _, c := range targets {
		if !c.reaches(p) {
			continue
		}
		s.last[c.label()] = 0
		if !c.paced {
			c.paced = true
			s.pace[c.label()] = c.window
		}
	}
	var err error
	s.rawConn, err = r.rawConn(p.path(), subprotocol(s.v1))
	return s, err
}

func (p profile) path() string {
	path := "/ws?uid=" + p.uid
	for _, topic := range p.topics {
		path += "&topic=" + topic
	}
	return path
}

func subprotocol(v1 bool) string {
	if v1 {
		return "belfry.v1"
	}
	return ""
}

// read takes messages until the last of every target.
func (s *stayer) read() error {
	for open := len(s.last); open > 0; {
		label, n, last, err := s.message(s.v1)
		if err != nil {
			return err
		}
		before, ok := s.last[label]
		if !ok {
			return fmt.Errorf("message to a stranger: %s", label)
		}
		if n != before+1 {
			return fmt.Errorf("%s: message %d after %d", label, n, before)
		}
		s.last[label] = n
		if pace := s.pace[label]; pace != nil {
			<-pace
		}
		if last {
			open--
		}
	}
	return nil
}

// message reads the next numbered message.
func (w *rawConn) message(v1 bool) (label string, n int, last bool, err error) {
	for {
		op, p, err := w.frame()
		if err != nil {
			return "", 0, false, err
		}
		if op == gobwas.OpClose {
			return "", 0, false, fmt.Errorf("closed: %q", p)
		}
		text := string(p)
		if v1 {
			var o struct{ Type, Data string }
			if err := json.Unmarshal(p, &o); err != nil {
				return "", 0, false, fmt.Errorf("%w: %q", err, p)
			}
			if o.Type != "msg" {
				continue
			}
			text = o.Data
		}
		parts := strings.Split(text, "#")
		if len(parts) != 3 {
			return "", 0, false, fmt.Errorf("odd message %q", text)
		}
		fmt.Sscan(parts[1], &n)
		return parts[0], n, parts[2] == "true", nil
	}
}

// comeAndGo is the life of a client that does not stay.
func (r *rig) comeAndGo(targets []*churnTarget) error {
	p := profile{fmt.Sprint("guest-", rand.IntN(20)), []string{"coming", "passing", "big"}[:rand.IntN(4)]}
	v1 := rand.IntN(2) == 0
	w, err := r.rawConn(p.path(), subprotocol(v1))
	if err != nil {
		return err
	}
	defer w.Close()
	if v1 {
		w.send(gobwas.OpText, []byte(`{"type":"sub","topics":["coming","other"]}`))
		p.topics = append(p.topics, "coming")
		if rand.IntN(2) == 0 {
			w.send(gobwas.OpText, []byte(`{"type":"unsub","topics":["other","big"]}`))
		}
	}
	for range rand.IntN(10) {
		label, _, _, err := w.message(v1)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(targets, func(c *churnTarget) bool { return c.label() == label }); !targets[i].reaches(p) {
			return fmt.Errorf("guest with topics %v got a message to %s", p.topics, label)
		}
	}
	switch rand.IntN(3) {
	case 0:
		w.SetLinger(0) // a reset
	case 1:
		w.send(gobwas.OpClose, []byte{3, 232})
	}
	return nil
}
