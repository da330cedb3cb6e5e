package bridge

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"belfry/session"
	"belfry/ws"
)

// Sessions takes the connections; *session.Server implements it.
type Sessions interface {
	// Admit is asked about each connection before its handshake. The address is the
	// client's, also behind a proxy that sends PROXY headers. A connection that is
	// refused is closed at once: there is no TLS yet in which the client could be told.
	Admit(remote netip.AddrPort) (session.Admission, *ws.Refusal)
	// Adopt takes one end of a stream, what Admit has said about its client, and what
	// the client has sent so far. The descriptor and the bytes belong to Sessions only
	// if the error is nil.
	Adopt(fd int, a session.Admission, unread []byte) error
}

// Listen is a host and a range of ports to listen on.
type Listen struct {
	Host   string // an IP address, or "" for all addresses
	Lo, Hi uint16 // first and last port; 0, 0 lets the kernel choose one
	// Proxy says that every connection starts with a header of the PROXY protocol,
	// before the TLS handshake.
	Proxy bool
}

// Options configure a Server. Sessions and TLS are required. The zero value of
// every other field is a safe default.
type Options struct {
	Sessions Sessions
	// TLS has the certificates. Its ALPN protocols (NextProtos) should be http/1.1
	// only, since that is what shards speak.
	TLS    *tls.Config
	Listen []Listen
	// Inherit are listening sockets of another process that was given the same Listen,
	// in the order of its Server.Sockets; none: the server binds its own. They become
	// the server's.
	Inherit []*net.TCPListener
	// Trusted are the networks of proxies. If there are any, no other address may send
	// a PROXY header. The limit of handshakes for one address does not count them.
	Trusted []netip.Prefix

	MaxConnections int           // after the handshake; 0: 16384; beyond: 503 after the handshake
	MaxHandshakes  int           // connections whose handshake or first request is not complete; 0: 2048, one address may hold half; beyond: closed at once
	HandshakeTime  time.Duration // from accept to the first bytes of a request; 0: 10 s; beyond: closed
	RetryAfter     time.Duration // Retry-After of a 503; 0: 5 s
	UserTimeout    time.Duration // TCP_USER_TIMEOUT of connections; 0: 30 s
	Workers        int           // goroutines that encrypt and decrypt at a time; 0: 2

	Log *zap.Logger // nil: none

	drain time.Duration // 0: drainTime; tests have less
}

// maxTime is the largest duration in Options.
const maxTime = time.Hour

// fill sets the defaults of options that are 0 or nil, and checks ranges.
func (o *Options) fill() error {
	if o.Sessions == nil || o.TLS == nil {
		return errors.New("bridge: Sessions and TLS are required")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.drain = cmp.Or(o.drain, drainTime)
	for _, l := range o.Listen {
		if l.Hi < l.Lo || l.Lo == 0 && l.Hi != 0 {
			return fmt.Errorf("bridge: listen %q: ports %d-%d; allowed are a first port of 1 or above and a last one not below it, or 0-0", l.Host, l.Lo, l.Hi)
		}
	}
	return errors.Join(
		fill("MaxConnections", &o.MaxConnections, 1<<14, 1, 1<<24),
		fill("MaxHandshakes", &o.MaxHandshakes, 2048, 1, 1<<20),
		fill("HandshakeTime", &o.HandshakeTime, 10*time.Second, time.Millisecond, maxTime),
		fill("RetryAfter", &o.RetryAfter, 5*time.Second, time.Millisecond, maxTime),
		fill("UserTimeout", &o.UserTimeout, 30*time.Second, time.Millisecond, maxTime),
		fill("Workers", &o.Workers, 2, 1, 1<<10),
	)
}

// fill sets an option that is 0 to its default, and returns an error if it is out
// of range.
func fill[T int | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("bridge: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}
