package session

import "bytes"

// clients build what hooks are told about sessions. Owned by the shard.
type clients struct {
	env
	users   *users
	grants  *grants
	remotes *remotes
}

// of returns what hooks are told about the session in a slot. It allocates, so it is
// called only if a hook is to be told.
func (cs *clients) of(slot uint32) *Client {
	rec := cs.rec(slot)
	c := &Client{
		UID:      string(cs.users.uid(rec)),
		Meta:     bytes.Clone(cs.grants.meta(rec)),
		Addr:     cs.remotes.of(slot),
		Encoding: cs.variantOf(rec).Encoding.Name(),
	}
	if rec.openedAt != 0 {
		c.SID = cs.session(slot)
	}
	return c
}
