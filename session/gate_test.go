package session

import "sync"

// gate is an Interest that is ready when the test says so.
type gate struct {
	mu     sync.Mutex
	closed bool // joins have to wait
	users  map[string]int
	topics map[string]int
	held   []held
}

// held is a callback that the gate owes.
type held struct {
	topic string // or
	uid   string
	token uint64
	w     Waiter
}

func newGate(closed bool) *gate {
	return &gate{closed: closed, users: map[string]int{}, topics: map[string]int{}}
}

func (g *gate) JoinUser(uid []byte, w Waiter, token uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users[string(uid)]++
	if g.closed {
		g.held = append(g.held, held{uid: string(uid), token: token, w: w})
	}
	return !g.closed
}

func (g *gate) JoinTopic(topic []byte, w Waiter, token uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.topics[string(topic)]++
	if g.closed {
		g.held = append(g.held, held{topic: string(topic), token: token, w: w})
	}
	return !g.closed
}

func (g *gate) LeaveUser(uid []byte)    { g.less(g.users, string(uid)) }
func (g *gate) LeaveTopic(topic []byte) { g.less(g.topics, string(topic)) }

// less counts down and forgets names with a count of 0. Below zero it
// keeps the negative count for the test to see.
func (g *gate) less(counts map[string]int, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if counts[name]--; counts[name] == 0 {
		delete(counts, name)
	}
}

// reset forgets everything.
func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.held = false, nil
	clear(g.users)
	clear(g.topics)
}

// set opens or closes the gate for joins to come.
func (g *gate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
}

// take removes the callback that is owed for longest.
func (g *gate) take() (h held, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.held) == 0 {
		return h, false
	}
	h, g.held = g.held[0], g.held[1:]
	return h, true
}

// count returns how many callbacks are owed.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.held)
}

// wanted returns how often a user or a topic is wanted.
func (g *gate) wanted(uid, topic string) (users, topics int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.users[uid], g.topics[topic]
}

// total returns how many users and topics are wanted.
func (g *gate) total() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.users) + len(g.topics)
}

// releaseOne calls back for the join that waits longest.
func (g *gate) releaseOne() bool {
	h, ok := g.take()
	if !ok {
		return false
	}
	call := h.w.TopicReady
	if h.uid != "" {
		call = h.w.UserReady
	}
	for !call(h.token) {
	}
	return true
}

// release opens the gate and calls back for all that wait.
func (g *gate) release() {
	g.set(false)
	for g.releaseOne() {
	}
}
