package bridge

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"belfry/session"
)

// A trusted proxy has many clients: it may have all handshakes, beyond the half that any
// other address has.
func TestHandshakesOfAProxy(t *testing.T) {
	const most = 4
	r := newRig(t, Options{MaxHandshakes: most, HandshakeTime: time.Minute, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}}, session.Options{})
	hello := clientHello(t)
	var held []net.Conn
	for i := range most {
		c := r.raw("127.0.0.2")
		c.Write(hello[:len(hello)-1])
		held = append(held, c)
		eventually(t, "a handshake", func() bool { return r.Stats().Handshaking == i+1 })
	}
	if !ended(r.raw("127.0.0.2")) {
		t.Error("more than all")
	}
	r.refusals(CauseMaxHandshakes, 1)
	for _, c := range held {
		c.Close()
	}
	eventually(t, "the places are free", func() bool { return r.Stats().Handshaking == 0 })
}
