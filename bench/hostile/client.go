package hostile

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"belfry/bench"
)

// client is an innocent connection; one goroutine reads it.
type client struct {
	conn net.Conn
	buf  []byte // received bytes that were not parsed yet
}

// connectTimeout bounds the time from connect(2) to the 101 of an innocent
// client.
const connectTimeout = 5 * time.Second

// dial makes a WebSocket connection from a loopback address.
func dial(ctx context.Context, from [4]byte, to netip.AddrPort, target, subprotocol string) (*client, error) {
	d := net.Dialer{Timeout: connectTimeout, LocalAddr: &net.TCPAddr{IP: from[:]}}
	conn, err := d.DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := c.upgrade(to, target, subprotocol); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) upgrade(to netip.AddrPort, target, subprotocol string) error {
	if err := c.conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	if _, err := c.conn.Write(bench.AppendRequest(nil, to.String(), target, nil, subprotocol)); err != nil {
		return err
	}
	for {
		n, err := bench.ParseResponse(c.buf, subprotocol)
		if err != nil {
			return err
		}
		if n > 0 {
			c.buf = c.buf[n:]
			return c.conn.SetDeadline(time.Time{})
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// fill reads once more.
func (c *client) fill() error {
	var p [16 << 10]byte
	n, err := c.conn.Read(p[:])
	c.buf = append(c.buf, p[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// next returns the next message; its payload is valid until the next call. It
// answers pings. An error of type closed is the server's close frame.
func (c *client) next() ([]byte, error) {
	for {
		f, n, err := bench.ParseFrame(c.buf)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			if err := c.fill(); err != nil {
				return nil, err
			}
			continue
		}
		c.buf = c.buf[n:]
		switch f.Op {
		case opPing:
			if _, err := c.conn.Write(appendFrame(nil, true, opPong, f.Payload)); err != nil {
				return nil, err
			}
		case opClose:
			var r received
			r.take(appendClose(f.Payload))
			return nil, errors.New(r.closed)
		default:
			return f.Payload, nil
		}
	}
}

// appendClose is a server's close frame with a payload.
func appendClose(payload []byte) []byte {
	return append([]byte{0x80 | opClose, byte(len(payload))}, payload...)
}

// close closes with 1000, as a client should.
func (c *client) close() {
	_ = c.conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.conn.Write(appendFrame(nil, true, opClose, []byte{3, 0xE8}))
	c.conn.Close()
}

// probe connects as uid and returns on which shard its sessions are: a session
// id begins with the shard's number. Clients must not interpret ids; the rig
// may, and if their form changes, its witnesses are only not spread over the
// shards.
func probe(ctx context.Context, to netip.AddrPort, uid string) (shard int, err error) {
	c, err := dial(ctx, [4]byte{127, 0, 0, 1}, to, "/ws?uid="+uid, "belfry.v1")
	if err != nil {
		return 0, fmt.Errorf("connecting to %v: %w", to, err)
	}
	defer c.close()
	if err := c.conn.SetReadDeadline(time.Now().Add(connectTimeout)); err != nil {
		return 0, err
	}
	hello, err := c.next()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(hello), `"session":"`)
	if len(rest) < 4 {
		return 0, fmt.Errorf("hello without a session: %.100s", hello)
	}
	b, err := base64.RawURLEncoding.DecodeString(rest[:4])
	if err != nil {
		return 0, err
	}
	return int(b[0])<<8 | int(b[1]), nil
}

// users returns a user for each of n shards, their names beginning with prefix.
func users(ctx context.Context, to netip.AddrPort, prefix string, n int) ([]string, error) {
	found := make([]string, n)
	left := n
	for i := 0; left > 0 && i < 64; i++ {
		uid := fmt.Sprintf("%s-%d", prefix, i)
		shard, err := probe(ctx, to, uid)
		if err != nil {
			return nil, err
		}
		if shard < n && found[shard] == "" {
			found[shard] = uid
			left--
		}
	}
	for i := range found { // if ids have another form, any user will do
		if found[i] == "" {
			found[i] = fmt.Sprintf("%s-any-%d", prefix, i)
		}
	}
	return found, nil
}
