package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"belfry/ws"
)

// maxPROXY bounds what is read of a PROXY header, in bytes. ws.ParsePROXY has
// limits of its own for each version.
const maxPROXY = 16 << 10

// readProxy reads the PROXY header before the handshake, and takes the client's
// address from it. What follows it stays for the handshake.
func (c *conn) readProxy() *refused {
	if peer := c.remote.Addr(); len(c.srv.opt.Trusted) > 0 && !c.srv.trusts(peer) {
		detail := fmt.Sprintf("%v may not tell where its clients come from at this address: it is not in proxy.trusted, and the address is in proxy.protocol", peer)
		return &refused{CauseProxy, errors.New(detail), ws.Forbidden(detail)}
	}
	p := make([]byte, 0, 256)
	for {
		if len(p) == cap(p) {
			p = append(make([]byte, 0, 2*cap(p)), p...)
		}
		n, err := c.TCPConn.Read(p[len(p):cap(p)])
		if n == 0 {
			return classify(err)
		}
		p = p[:len(p)+n]
		source, size, err := ws.ParsePROXY(p)
		switch {
		case err != nil:
			detail := proxyDetail(err)
			return &refused{CauseProxy, errors.New(detail), ws.BadRequest(detail)}
		case size > 0:
			if source.IsValid() {
				c.remote = source
			}
			c.ahead = p[size:]
			return nil
		case len(p) >= maxPROXY:
			return &refused{cause: CauseProxy, err: os.ErrDeadlineExceeded}
		}
	}
}

// proxyDetail explains an error of ws.ParsePROXY to the operator of the proxy.
func proxyDetail(err error) string {
	none, ok := errors.AsType[*ws.NoPROXYError](err)
	if !ok {
		return err.Error()
	}
	return "a connection to this address begins with a PROXY protocol header (proxy.protocol), this one with " + none.Received +
		": let the proxy send the header (haproxy: send-proxy-v2, nginx: proxy_protocol on), or take the address out of proxy.protocol"
}

// trusts says whether an address belongs to a trusted proxy.
func (s *Server) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range s.opt.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
