package session

import (
	"math"
	"time"

	"belfry/message"
	"belfry/offheap"
)

// grants keep what the authenticator granted to a shard's sessions, outside the Go
// heap. A session has a record here only if something of its Grant differs from the
// default: beside its user and its topics, which others keep. Equal lists of
// permissions are stored once. Owned by the shard.
type grants struct {
	env
	users *users

	all    *offheap.Records[granted]       // by record.grant - 1
	lists  *offheap.Records[permissions]   // by granted.permissions - 1
	limits *offheap.Records[sessionLimits] // by granted.limits - 1
	table  *offheap.Table                  // of lists, by the hash of the text
	blobs  blobs
	text   []byte // of a list that is being stored

	classes deviceClasses
}

// granted is the grant of one session. No Go pointers.
type granted struct {
	permissions uint32      // index in grants.lists + 1; 0: what everybody may do, and no more
	limits      uint32      // index in grants.limits + 1; 0: those of Options
	meta        offheap.Str // 0: none
	issued      uint32      // Unix seconds; 0: not known
	expires     uint32      // Unix seconds; 0: never
	class       uint8       // in grants.classes; 0: none
}

// permissions are the patterns of one or more sessions. The text holds them one
// after the other, each behind a byte with its length: first those to subscribe,
// then those to publish. No Go pointers.
type permissions struct {
	text    offheap.Str
	hash    uint32
	refs    uint32 // sessions
	publish uint16 // where the patterns to publish begin in the text
}

// sessionLimits are limits of one session. No Go pointers.
type sessionLimits struct {
	ping, idle, idleRead, idleWrite uint32 // ticks; 0: none
	messages                        uint32 // a second; 0: no limit
	topics                          uint16
}

func (g *grants) init(e *env, us *users) (err error) {
	owner, most := e.opt.Poller.Memory.Owner("grants"), e.opt.MaxSessions+e.opt.MaxPending
	g.env, g.users = *e, us
	g.table = offheap.NewTable(owner)
	g.classes.init(e.opt.MaxPerClass)
	if g.all, err = offheap.NewRecords[granted](owner, most); err != nil {
		return err
	}
	if g.lists, err = offheap.NewRecords[permissions](owner, most); err != nil {
		return err
	}
	if g.limits, err = offheap.NewRecords[sessionLimits](owner, most); err != nil {
		return err
	}
	g.blobs.strs, err = offheap.NewStrs(owner, most)
	return err
}

func (g *grants) close() {
	g.table.Close()
	g.all.Close()
	g.lists.Close()
	g.limits.Close()
	g.blobs.strs.Close()
}

// trim gives memory back that is not used any more.
func (g *grants) trim() {
	g.table.Trim()
	g.all.Trim()
	g.lists.Trim()
	g.limits.Trim()
	g.blobs.strs.Trim()
}

// of returns the grant of a session, nil if nothing of it differs from the default.
// It is valid until the session's next put or drop.
func (g *grants) of(rec *record) *granted {
	if rec.grant == 0 {
		return nil
	}
	return g.all.At(rec.grant - 1)
}

// put stores a valid grant in place of the session's last one. If there is no room
// the last one stays.
func (g *grants) put(rec *record, from *Grant) error {
	var to granted
	err := g.fill(&to, from)
	if err == nil && to != (granted{}) && rec.grant == 0 {
		if at, ok := g.all.Alloc(); ok {
			rec.grant = at + 1
		} else {
			err = errNoRoom
		}
	}
	if err != nil {
		g.release(&to)
		return err
	}
	if to == (granted{}) {
		g.drop(rec)
		return nil
	}
	g.release(g.of(rec))
	*g.of(rec) = to
	return nil
}

// fill stores the parts of a grant. After an error the caller releases them.
func (g *grants) fill(to *granted, from *Grant) (err error) {
	to.issued, to.expires = unixSeconds(from.Issued), unixSeconds(from.Expires)
	to.class = g.enterClass(from.DeviceClass)
	if to.meta, err = g.blobs.put(from.Meta); err != nil {
		return err
	}
	if from.Limits != (SessionLimits{}) {
		at, ok := g.limits.Alloc()
		if !ok {
			return errNoRoom
		}
		*g.limits.At(at) = g.opt.sessionLimits(&from.Limits)
		to.limits = at + 1
	}
	to.permissions, err = g.intern(from.Subscribe, from.Publish)
	return err
}

// release frees the parts of a grant.
func (g *grants) release(it *granted) {
	g.blobs.free(it.meta)
	if it.limits != 0 {
		g.limits.Free(it.limits - 1)
	}
	g.unref(it.permissions)
	*it = granted{}
}

// drop forgets the grant of a session.
func (g *grants) drop(rec *record) {
	if it := g.of(rec); it != nil {
		g.release(it)
		g.all.Free(rec.grant - 1)
		rec.grant = 0
	}
}

// setPermissions replaces the permissions of a session. If there is no room the last
// ones stay.
func (g *grants) setPermissions(rec *record, subscribe, publish []string) error {
	list, err := g.intern(subscribe, publish)
	if err != nil {
		return err
	}
	if rec.grant == 0 {
		if list == 0 {
			return nil
		}
		at, ok := g.all.Alloc()
		if !ok {
			g.unref(list)
			return errNoRoom
		}
		rec.grant = at + 1
	}
	it := g.of(rec)
	g.unref(it.permissions)
	it.permissions = list
	if *it == (granted{}) {
		g.drop(rec)
	}
	return nil
}

// setMeta replaces the meta data of a session. If there is no room the last stay.
func (g *grants) setMeta(rec *record, meta []byte) error {
	to, err := g.blobs.put(meta)
	if err != nil {
		return err
	}
	if rec.grant == 0 {
		if to == 0 {
			return nil
		}
		at, ok := g.all.Alloc()
		if !ok {
			g.blobs.free(to)
			return errNoRoom
		}
		rec.grant = at + 1
	}
	it := g.of(rec)
	g.blobs.free(it.meta)
	it.meta = to
	if *it == (granted{}) {
		g.drop(rec)
	}
	return nil
}

// meta returns the meta data of a session, nil if it has none. It is valid until the
// next call.
func (g *grants) meta(rec *record) []byte {
	it := g.of(rec)
	if it == nil || it.meta == 0 {
		return nil
	}
	return g.blobs.get(it.meta)
}

// limitsOf returns the limits of a session, nil if they are those of Options.
func (g *grants) limitsOf(rec *record) *sessionLimits {
	it := g.of(rec)
	if it == nil || it.limits == 0 {
		return nil
	}
	return g.limits.At(it.limits - 1)
}

// maxTopics returns how many topics a session may have.
func (g *grants) maxTopics(rec *record) int {
	if own := g.limitsOf(rec); own != nil {
		return int(own.topics)
	}
	return g.opt.MaxTopics
}

// patterns returns the patterns of a session to subscribe and to publish, as the
// text of permissions. They are valid until the next call.
func (g *grants) patterns(rec *record) (subscribe, publish []byte) {
	it := g.of(rec)
	if it == nil || it.permissions == 0 {
		return nil, nil
	}
	at := g.lists.At(it.permissions - 1)
	text := g.blobs.get(at.text)
	return text[:at.publish], text[at.publish:]
}

// unixSeconds returns a time in Unix seconds, 0 for the zero time. A time outside
// what 32 bits hold becomes the nearest one within.
func unixSeconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix(), 1), math.MaxUint32))
}

// sessionLimits returns the limits of a session whose grant names some.
func (o *Options) sessionLimits(l *SessionLimits) sessionLimits {
	own := func(d, of time.Duration) uint32 {
		if d == 0 {
			d = of
		}
		return ticks(max(d, 0))
	}
	return sessionLimits{
		ping: own(l.PingInterval, o.PingInterval), idle: own(l.Idle, o.Idle),
		idleRead: own(l.IdleRead, o.IdleRead), idleWrite: own(l.IdleWrite, o.IdleWrite),
		messages: uint32(limitOr(l.Messages, o.Rates.Messages, 0)),
		topics:   uint16(o.topicsOf(l)),
	}
}

// topicsOf returns how many topics a session with these limits may have.
func (o *Options) topicsOf(l *SessionLimits) int {
	return limitOr(l.Topics, o.MaxTopics, maxTopicsOfSession)
}

// limitOr returns a limit of SessionLimits: usual if it is 0, none if it is negative.
func limitOr(n, usual, none int) int {
	switch {
	case n == 0:
		return usual
	case n < 0:
		return none
	}
	return n
}

// maxTopicsOfSession is the largest number of topics of a session.
const maxTopicsOfSession = 1 << 14

// mayPublish says whether a session may publish to a target: to topics that its
// patterns or everybody's match; to users, sessions and all only with *.
func (g *grants) mayPublish(rec *record, to *message.Target) bool {
	_, own := g.patterns(rec)
	if to.Scope != message.ScopeTopics {
		return g.srv.permitted.Load().publish.All() || hasAll(own)
	}
	all := g.srv.permitted.Load()
	for _, topic := range to.Names {
		if !g.permits(rec, all.publish, own, topic) {
			return false
		}
	}
	return true
}

// maySubscribe says whether a session may subscribe to a topic by command. The topic
// must be valid.
func (g *grants) maySubscribe(rec *record, topic string) bool {
	own, _ := g.patterns(rec)
	return g.permits(rec, g.srv.permitted.Load().subscribe, own, topic)
}

// permits says whether a topic matches everybody's patterns or a session's own.
func (g *grants) permits(rec *record, everybody *message.Patterns, own []byte, topic string) bool {
	uid := g.users.uid(rec)
	if everybody.Match(topic, view(uid)) {
		return true
	}
	users := everybody.ForUsers()
	for len(own) > 0 {
		pattern := own[1 : 1+int(own[0])]
		if message.MatchPattern(pattern, topic, uid) {
			return true
		}
		users = users || hasPlaceholder(pattern)
		own = own[1+len(pattern):]
	}
	if users && len(uid) > 0 && !message.IsToken(view(uid)) {
		g.counters.unfitUIDs.Add(1)
	}
	return false
}
