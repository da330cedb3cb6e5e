package idempotency

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"belfry/broadcast"
)

// homePause is the pause before a home is asked again that does not know yet that it is
// one.
const homePause = 50 * time.Millisecond

// ask has other nodes confirm a claim of this node. With an answer or an error the claim
// is not granted.
func (k *Keys) ask(ctx context.Context, c *Claim) (*Answer, error) {
	if down := k.down(); len(down) > 0 {
		return nil, &UnavailableError{"not all nodes can be asked whether they know the key: " + strings.Join(down, "; ")}
	}
	first, err := k.askKeeper(ctx, c)
	if first == nil && err == nil && c.all {
		first, err = k.askAll(ctx, c)
	}
	if first != nil || err != nil {
		return first, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.store.entries[c.e.id] != c.e { // a node with another view of the homes has given it away
		return nil, ErrProgress
	}
	c.e.firm = true
	return nil, nil
}

// down returns why it is not known which nodes there are.
func (k *Keys) down() (reasons []string) {
	if k.opt.Reach != nil {
		reasons = k.opt.Reach()
	}
	k.mu.Lock()
	started := k.started
	k.mu.Unlock()
	if time.Since(started) < k.opt.Settle {
		reasons = append(reasons, "this node has just started")
	}
	return reasons
}

// askKeeper asks the home of the key or, if that is this node, tells the second home.
func (k *Keys) askKeeper(ctx context.Context, c *Claim) (*Answer, error) {
	for {
		homes := k.opt.Homes()
		home, ok := homes.Home(bucketOf(c.e.id))
		if !ok {
			return nil, &UnavailableError{"no node can be the key's home: all of them drain"}
		}
		op := opClaim
		if home == k.self {
			op = opKnow
		}
		node, ok := homes.Keeper(bucketOf(c.e.id), k.self)
		if !ok {
			return nil, nil // there is no other node
		}
		m := command{op: op, id: c.e.id, print: c.e.print, claim: c.e.claim}
		if !slices.Contains(c.to, node) {
			c.to = append(c.to, node)
		}
		body, err := k.opt.Control.Ask(ctx, node, kind, m.encode())
		if err != nil {
			return nil, unavailable(fmt.Sprintf("node %08x, the key's home", node), err)
		}
		code, first, err := decodeReply(body)
		if err != nil || code != codeNotHome {
			return c.replied(fmt.Sprintf("node %08x", node), code, first, err)
		}
		select {
		case <-time.After(homePause): // homes are moving
		case <-ctx.Done():
			return nil, &UnavailableError{"homes are moving; try again"}
		}
	}
}

// askAll asks all nodes. Every one has to answer that the key is new.
func (k *Keys) askAll(ctx context.Context, c *Claim) (first *Answer, err error) {
	k.mu.Lock()
	k.stats.Asked++
	k.mu.Unlock()
	m := command{op: opKnow, id: c.e.id, print: c.e.print, claim: c.e.claim}
	for _, a := range k.opt.Control.AskAll(ctx, kind, m.encode()) {
		one, e := (*Answer)(nil), error(nil)
		if a.Err != nil {
			e = unavailable("node "+a.Name, a.Err)
		} else {
			code, done, bad := decodeReply(a.Body)
			one, e = c.replied("node "+a.Name, code, done, bad)
		}
		if one != nil {
			return one, nil // whatever the others say: it was answered
		}
		if _, silent := e.(*UnavailableError); e != nil && (err == nil || !silent) {
			err = e
		}
	}
	return nil, err
}

// replied says what a reply means for a claim.
func (c *Claim) replied(who string, reply code, first Answer, err error) (*Answer, error) {
	switch {
	case err != nil:
		return nil, unavailable(who, err)
	case reply == codeNew:
		return nil, nil
	case reply == codeUnsure:
		c.all = true
		return nil, nil
	case reply == codeProgress:
		return nil, ErrProgress
	case reply == codeDone:
		return &first, nil
	case reply == codeOther:
		return nil, ErrOther
	case reply == codeFull:
		return nil, &UnavailableError{who + ": as many keys as may be are in progress there (api.idempotency.max_keys, api.idempotency.max_bytes)"}
	}
	return nil, unavailable(who, errBody)
}

func unavailable(who string, err error) error {
	return &UnavailableError{who + ": " + err.Error()}
}

// handle runs a command of another node.
func (k *Keys) handle(_ context.Context, from broadcast.Peer, body []byte) ([]byte, error) {
	m, err := decode(body)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if m.op == opClaim {
		if home, ok := k.opt.Homes().Home(bucketOf(m.id)); !ok || home != k.self {
			return encodeReply(codeNotHome, nil), nil
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.store.get(m.id, now)
	if m.op == opClaim || m.op == opKnow {
		code := k.claimed(from.ID, &m, e, now)
		if code == codeDone {
			return encodeReply(code, &e.answer), nil
		}
		return encodeReply(code, nil), nil
	}
	own := e != nil && e.owner == from.ID && e.claim == m.claim
	switch {
	case m.op == opRelease && own && !e.done:
		k.store.remove(e)
	case m.op == opFinish && own:
		k.store.finish(e, m.answer)
	case m.op == opFinish && (e == nil || k.forsaken(e, now)):
		if e != nil {
			k.store.remove(e)
		}
		k.store.put(&entry{id: m.id, print: m.print, owner: from.ID, claim: m.claim, since: now, done: true, answer: m.answer})
	}
	return nil, nil
}

// claimed enters a claim of another node. e is what is known of its key. k.mu is held.
func (k *Keys) claimed(from uint32, m *command, e *entry, now time.Time) code {
	reply := codeNew
	if k.unsure(now) {
		reply = codeUnsure
	}
	switch {
	case e == nil:
	case e.owner == from && e.claim == m.claim:
		return reply // the command came twice
	case e.owner == k.self && !e.firm && m.op == opKnow:
		// The claim of this node was not granted yet. It finds that its entry is gone.
		k.store.remove(e)
	case k.forsaken(e, now):
		// If the node of the first request is there, it says so when all are asked. The
		// entry stays: the claim may be refused by that node.
		return codeUnsure
	case e.print != m.print:
		return codeOther
	case e.done:
		return codeDone
	default:
		return codeProgress
	}
	if !k.store.put(&entry{id: m.id, print: m.print, owner: from, claim: m.claim, since: now}) {
		return codeFull
	}
	return reply
}
