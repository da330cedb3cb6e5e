package presence

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// told is what an Announcer has sent, as lines of time, kind, topic and payload.
type told struct {
	begun time.Time
	mu    sync.Mutex
	lines []string
	err   error
}

func (h *told) publish(m *message.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	if err := m.Check(1 << 16); err != nil {
		return err
	}
	h.lines = append(h.lines, fmt.Sprintf("%v %s %s %s", time.Since(h.begun).Round(time.Second), m.Membership, m.Topic(), m.Payload))
	return nil
}

func (h *told) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// take returns the lines that have come since the last call.
func (h *told) take() string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	text := strings.Join(h.lines, "\n")
	h.lines = nil
	return text
}

// announcer makes two nodes with sessions "1" to "n" on each, of which all subscribe to
// "room", and has the first one tell.
func announcer(t *testing.T, each int, change func(*AnnouncerOptions)) (a *Announcer, everybody, here *told, nodes []*node) {
	nodes = cluster(t, 2, nil)
	for _, n := range nodes {
		for i := range each {
			n.sessions = append(n.sessions, Session{SID: fmt.Sprint(i), Topics: []string{"room", "other"}})
		}
	}
	everybody, here = &told{begun: time.Now()}, &told{begun: time.Now()}
	o := AnnouncerOptions{Reader: nodes[0].reader, Publish: everybody.publish, Deliver: here.publish, Match: func(topic string) bool { return topic == "room" },
		Members: 3, Bytes: 32 << 10, Rate: 10, Wait: time.Second, Log: zap.NewNop()}
	if change != nil {
		change(&o)
	}
	a = NewAnnouncer(o)
	a.Start()
	t.Cleanup(a.Close)
	return a, everybody, here, nodes
}

func (h *told) expect(t *testing.T, want string) {
	t.Helper()
	if got := h.take(); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// Changes of a second are told together, and those that cancel out are not.
func TestAnnouncerCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, told, here, _ := announcer(t, 1, nil)
		a.Joined("room", "s1", "ann")
		a.Joined("room", "s2", "")
		a.Left("room", "s3", "bob")
		for range 100 { // a client that comes and goes
			a.Joined("room", "s4", "carl")
			a.Left("room", "s4", "carl")
		}
		time.Sleep(900 * time.Millisecond)
		told.expect(t, "")
		time.Sleep(200 * time.Millisecond)
		told.expect(t, `1s leave room {"count":2,"members":[{"session":"s3","user":"bob"}]}`+"\n"+
			`1s join room {"count":2,"members":[{"session":"s1","user":"ann"},{"session":"s2"}]}`)
		a.Left("room", "s1", "ann")
		a.Joined("room", "s1", "ann")
		a.Joined("empty", "s1", "ann") // nobody is there any more
		time.Sleep(5 * time.Second)
		told.expect(t, "")
		here.expect(t, "")
		if st := a.Stats(); st.Waiting != 0 || st.Told["join"] != 1 || st.Told["leave"] != 1 || st.Dropped+st.Failed != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// Of a topic with many subscribers, or many changes, or a long list, the count is told.
func TestAnnouncerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, told, _, nodes := announcer(t, 2, nil)
		a.Joined("room", "s1", "ann")
		time.Sleep(1100 * time.Millisecond)
		told.expect(t, `1s count room {"count":4}`)
		nodes[1].sessions = nil
		for i := range 7 {
			a.Left("room", fmt.Sprint(i), "")
		}
		time.Sleep(5 * time.Second)
		told.expect(t, `3s count room {"count":2}`) // it rests for a second for each node
	})
}

// Of a topic whose list is too long for a message the count is told.
func TestAnnouncerLongList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, told, _, _ := announcer(t, 1, func(o *AnnouncerOptions) { o.Bytes = 80 })
		a.Joined("room", "s1", strings.Repeat("x", 99))
		time.Sleep(5 * time.Second)
		told.expect(t, `1s count room {"count":2}`)
		a.Joined("room", "s1", "ann")
		time.Sleep(1500 * time.Millisecond)
		if got := told.take(); !strings.HasSuffix(got, `join room {"count":2,"members":[{"session":"s1","user":"ann"}]}`) {
			t.Error(got)
		}
	})
}

// A large topic rests the longer the more subscribers it has; its last count is told.
func TestAnnouncerRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, told, _, _ := announcer(t, 2500, nil)
		for i := range 9 {
			a.Joined("room", fmt.Sprint("s", i), "ann")
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Second)
		told.expect(t, `1s count room {"count":5000}`+"\n"+`11s count room {"count":5000}`)
		time.Sleep(time.Minute)
		told.expect(t, "")
		if st := a.Stats(); st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// No more topics than Rate are told of in a second; the changes of some wait, and further
// ones are dropped and counted.
func TestAnnouncerRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, told, _, nodes := announcer(t, 0, func(o *AnnouncerOptions) { o.Rate = 2 })
		for i := range 40 {
			topic := fmt.Sprint("t", i)
			nodes[1].sessions = append(nodes[1].sessions, Session{SID: "x", Topics: []string{topic}})
			a.Joined(topic, "s", "ann")
		}
		synctest.Wait()
		if st := a.Stats(); st.Waiting != 32 || st.Dropped != 8 {
			t.Errorf("%+v", st)
		}
		time.Sleep(3500 * time.Millisecond)
		got := told.take()
		if strings.Count(got, "join") != 6 || strings.Count(got, "1s join") != 2 {
			t.Error(got)
		}
		time.Sleep(20 * time.Second)
		if got := told.take(); strings.Count(got, "join") != 26 || a.Stats().Waiting != 0 {
			t.Error(got, a.Stats())
		}
	})
}

// What cannot be published is made up for by a count.
func TestAnnouncerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, told, _, _ := announcer(t, 1, nil)
		told.fail(errors.New("full"))
		a.Joined("room", "s1", "ann")
		time.Sleep(2500 * time.Millisecond)
		told.fail(nil)
		time.Sleep(3 * time.Second)
		if got := told.take(); !strings.HasSuffix(got, `count room {"count":2}`) || strings.Contains(got, "\n") || a.Stats().Failed == 0 {
			t.Error(got, a.Stats())
		}
	})
}

// When a node is gone, this one tells its own sessions how many there are, of the topics
// that want it.
func TestAnnouncerNodeGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, told, here, _ := announcer(t, 1, nil)
		a.NodeGone()
		time.Sleep(5 * time.Second)
		told.expect(t, "")
		here.expect(t, `1s count room {"count":2}`)
		a.NodeGone()
		a.Joined("room", "s1", "ann") // of which the others are told
		time.Sleep(5 * time.Second)
		here.expect(t, "")
		if got := told.take(); !strings.HasSuffix(got, `join room {"count":2,"members":[{"session":"s1","user":"ann"}]}`) {
			t.Error(got)
		}
	})
}

// A change of this node is told to all nodes, also while a count for this node waits.
func TestAnnouncerNodeGoneAndChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, told, here, _ := announcer(t, 2, nil)
		a.Joined("room", "s1", "ann")
		time.Sleep(1100 * time.Millisecond)
		told.expect(t, `1s count room {"count":4}`) // the topic rests
		a.NodeGone()
		time.Sleep(1100 * time.Millisecond)
		a.Joined("room", "s2", "bob")
		time.Sleep(5 * time.Second)
		here.expect(t, "")
		if got := told.take(); !strings.HasSuffix(got, `count room {"count":4}`) {
			t.Error(got)
		}
	})
}
