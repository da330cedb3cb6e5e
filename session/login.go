package session

import (
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// LoginAuthenticator is an Authenticator that also decides for clients of an
// encoding that is wire.InBand.
type LoginAuthenticator interface {
	Authenticator
	// Login is Authenticate for credentials that a client sent as its first
	// command. It may keep them.
	Login(credentials []byte, later func(Grant, *ws.Refusal)) (g Grant, refusal *ws.Refusal, pending bool)
}

// maxBeforeLogin is how many pings and other frames a client may send before it
// has logged in.
const maxBeforeLogin = 64

// awaitLogin accepts a connection whose client has yet to say who it is. It
// has Options.UpgradeTime for that, and counts as an upgrade that waits.
func (h *shard) awaitLogin(slot uint32, o *upgrade) {
	if refusal := h.startWaiting(slot); refusal != nil {
		h.refuseUpgrade(slot, o, refusal)
		return
	}
	rec := h.rec(slot)
	rec.state, rec.variant = stateLogin, o.variant
	h.counters.accepted(o.accept)
	o.answered = true
	h.ps.Send(slot, poller.Bytes(o.accept), poller.Data)
	rec.side = h.upgrades.Put(o)
}

// beforeLogin acts on a frame of a client that has not logged in. Its first
// message has to be the login; what is decided then goes on in startLogin,
// when nothing else is being done to the connection.
func (h *shard) beforeLogin(slot uint32, rec *record, ev ws.Event) {
	o := h.upgrades.Get(rec.side)
	if o.frames++; o.frames > maxBeforeLogin {
		h.end(slot, ReasonLogin, "too many frames before the login")
		return
	}
	if ev.Type != ws.EventMessage {
		return
	}
	cmd, rest, err := h.variantOf(rec).Encoding.Command(ev.Payload, kindOf(ev.Op))
	if err != nil || cmd.Op != wire.OpLogin || len(rest) > 0 {
		h.end(slot, ReasonLogin, "the first message must be the login and nothing else")
		return
	}
	h.counters.commands[cmd.Op].Add(1)
	o.ref, o.credentials = cmd.Ref, cmd.Payload
	h.flushAnswers(slot) // pongs to pings before the login
	rec.state = stateAuth
	h.ps.Pause(slot)
	h.logins = append(h.logins, h.ps.ID(slot))
}

// startLogins asks the authenticator about clients that have just sent their
// credentials, for the time of a chunk, and says whether there are more.
func (h *shard) startLogins() (more bool) {
	for n := 1; len(h.logins) > 0; n++ {
		id := h.logins[0]
		h.logins = h.logins[1:] // first: a panic must not come again
		if slot, ok := h.ps.Lookup(id); ok && h.rec(slot).state == stateAuth {
			h.ps.Protect(id, func() { h.startLogin(slot, id) })
		}
		if n%16 == 0 && h.ps.Expired() {
			return len(h.logins) > 0
		}
	}
	h.logins = nil
	return false
}

func (h *shard) startLogin(slot uint32, id poller.ID) {
	credentials := h.upgrades.Get(h.rec(slot).side).credentials
	a := h.opt.Authenticator.(LoginAuthenticator) // newProtocols has checked it
	grant, refusal, pending := a.Login(credentials, func(g Grant, r *ws.Refusal) { h.postAuth(id, g, r) })
	if !pending {
		h.authDone(id, &authResult{grant, refusal})
	}
}
