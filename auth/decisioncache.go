package auth

import (
	lru "container/list"
	"sync"
	"time"

	"belfry/session"
)

// decisionCache remembers decisions about subscriptions for the time that the
// webhook has stated. The decision that was not used for the longest time makes
// room for another one.
type decisionCache struct {
	most int // decisions; 0: none

	mu      sync.Mutex // guards what follows; held only for look-ups
	entries map[decisionKey]*lru.Element
	used    lru.List // of *cachedDecision; the front was used last
	hits    uint64
}

// decisionKey is what a decision is about.
type decisionKey struct {
	everybody bool // it holds for all clients; uid is ""
	uid       string
	topic     string
}

// subscribeDecision says whether a client may subscribe. The cache holds none that is
// session.Undecided.
type subscribeDecision struct {
	is     session.Decision
	reason string // for the client; "" for none
}

type cachedDecision struct {
	key   decisionKey
	until time.Time
	subscribeDecision
}

// get returns the decision about a user and a topic. Sessions without a user have
// only those that hold for everybody: they may be anybody's.
func (c *decisionCache) get(uid, topic string, now time.Time) (d subscribeDecision, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok = c.find(decisionKey{everybody: true, topic: topic}, now); !ok && uid != "" {
		d, ok = c.find(decisionKey{uid: uid, topic: topic}, now)
	}
	if ok {
		c.hits++
	}
	return d, ok
}

// find is get for one key. The caller holds mu.
func (c *decisionCache) find(key decisionKey, now time.Time) (subscribeDecision, bool) {
	element := c.entries[key]
	if element == nil {
		return subscribeDecision{}, false
	}
	cached := element.Value.(*cachedDecision)
	if !now.Before(cached.until) {
		c.remove(element)
		return subscribeDecision{}, false
	}
	c.used.MoveToFront(element)
	return cached.subscribeDecision, true
}

// put remembers a decision until a time.
func (c *decisionCache) put(key decisionKey, d subscribeDecision, until time.Time) {
	if c.most == 0 || !key.everybody && key.uid == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.entries[key]; element != nil {
		c.remove(element)
	}
	for len(c.entries) >= c.most {
		c.remove(c.used.Back())
	}
	if c.entries == nil {
		c.entries = map[decisionKey]*lru.Element{}
	}
	c.entries[key] = c.used.PushFront(&cachedDecision{key, until, d})
}

// remove forgets a decision. The caller holds mu.
func (c *decisionCache) remove(element *lru.Element) {
	delete(c.entries, c.used.Remove(element).(*cachedDecision).key)
}

// load returns how many decisions are remembered, and how many were used again.
func (c *decisionCache) load() (entries int, hits uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.hits
}
