package session

import (
	"fmt"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// LoginAuthenticator is an Authenticator that also decides about credentials that
// a client sends in a command: the login of an encoding that is wire.InBand, which
// needs it, and wire.OpAuth of an open session.
type LoginAuthenticator interface {
	Authenticator
	// Login is like Authenticate, for credentials that a client sent in a command.
	// It may keep both arguments. c.SID and c.UID are empty before the first login.
	Login(c *Client, credentials []byte, later func(Grant, *ws.Refusal)) (g Grant, refusal *ws.Refusal, pending bool)
}

// credentialsProblem says what is wrong with the length of the credentials of a
// command; "" if they may be checked. Meanwhile they are not counted in
// Poller.InboundBytes, but in Options.WaitingBytes.
func (e *env) credentialsProblem(n int) string {
	if n <= e.opt.MaxCredentials {
		return ""
	}
	e.counters.limit(limitCredentials)
	return fmt.Sprintf("the credentials have %d bytes; at most %d are allowed (auth.max_token)", n, e.opt.MaxCredentials)
}

// maxBeforeLogin is how many frames a client may send before it has logged in,
// pings included.
const maxBeforeLogin = 64

// awaitLogin accepts a connection whose client has to log in. The client has
// Options.UpgradeTime for it, and counts as an upgrade that waits.
func (u *upgrader) awaitLogin(slot uint32, o *upgrade) {
	if refusal := u.upgrades.startWaiting(slot); refusal != nil {
		u.refuser.refuseUpgrade(slot, o, refusal)
		return
	}
	rec := u.rec(slot)
	rec.state, rec.variant = stateLogin, o.variant
	u.counters.accepted(o.accept)
	o.answered = true
	u.ps.Send(slot, poller.Bytes(o.accept), poller.Data)
	u.upgrades.put(rec, o)
}

// beforeLogin acts on a frame of a client that has not logged in. The client's
// first message has to be the login. The authenticator is asked later in the turn,
// by startLogins: its answer may close or move the connection, which must not
// happen while the connection's input is being decoded.
func (u *upgrader) beforeLogin(slot uint32, rec *record, ev ws.Event) {
	o := u.upgrades.get(rec)
	if o.frames++; o.frames > maxBeforeLogin {
		u.closer.end(slot, ReasonLoginRefused, "too many frames before the login")
		return
	}
	if ev.Type != ws.EventMessage {
		return
	}
	cmd, rest, err := u.variantOf(rec).Encoding.Command(ev.Payload, kindOf(ev.Op))
	if err != nil || cmd.Op != wire.OpLogin || len(rest) > 0 {
		u.closer.end(slot, ReasonLoginRefused, "the first message must be the login and nothing else")
		return
	}
	if problem := u.credentialsProblem(len(cmd.Payload)); problem != "" {
		u.closer.end(slot, ReasonLoginRefused, problem)
		return
	}
	u.counters.commands[cmd.Op].Add(1)
	o.ref, o.credentials = cmd.Ref, cmd.Payload
	u.answers.flush(slot) // pongs to pings before the login
	rec.state = stateAuth
	u.ps.Pause(slot)
	u.logins = append(u.logins, u.ps.ID(slot))
}

// startLogins asks the authenticator about clients that have sent their
// credentials, for the time of a chunk. It says whether there are more.
func (u *upgrader) startLogins() (more bool) {
	for n := 1; len(u.logins) > 0; n++ {
		id := u.logins[0]
		u.logins = u.logins[1:] // first, so that a panic does not come again
		if slot, ok := u.ps.Lookup(id); ok && u.rec(slot).state == stateAuth {
			u.ps.Protect(id, func() { u.startLogin(slot, id) })
		}
		if n%16 == 0 && u.ps.Expired() {
			return len(u.logins) > 0
		}
	}
	u.logins = nil
	return false
}

func (u *upgrader) startLogin(slot uint32, id poller.ID) {
	credentials := u.upgrades.get(u.rec(slot)).credentials
	a := u.opt.Authenticator.(LoginAuthenticator) // newProtocols has checked it
	d, refusal := u.ask(id, len(credentials))
	if refusal != nil {
		u.authDone(id, Grant{}, refusal)
		return
	}
	pending := false
	defer func() {
		if !pending { // also after a panic
			d.cancel()
		}
	}()
	var grant Grant
	if grant, refusal, pending = a.Login(&Client{Addr: u.remotes.of(slot)}, credentials, d.later()); !pending {
		u.authDone(id, grant, refusal)
	}
}
