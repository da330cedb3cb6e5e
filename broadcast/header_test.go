package broadcast

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

// raw speaks the NATS protocol over a socket, so that it can send messages that
// client libraries refuse.
type raw struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialRaw(t *testing.T, address string) *raw {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r := &raw{t, c, bufio.NewReader(c)}
	r.say("CONNECT {\"verbose\":false,\"headers\":true}\r\n")
	r.sync()
	return r
}

func (r *raw) say(text string) {
	r.t.Helper()
	if _, err := r.conn.Write([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

// sync returns when the server has read everything.
func (r *raw) sync() {
	r.t.Helper()
	r.say("PING\r\n")
	for {
		line, err := r.in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "-ERR") {
			r.t.Fatalf("%q: %v", line, err)
		}
		if line == "PONG\r\n" {
			return
		}
	}
}

// publish sends a message with exactly this header block.
func (r *raw) publish(subject, block, payload string) {
	r.t.Helper()
	r.say(fmt.Sprintf("HPUB %s %d %d\r\n%s%s\r\n", subject, len(block), len(block)+len(payload), block, payload))
	r.sync()
}

// A message whose headers cannot be read is dropped: otherwise it would reach the
// excluded session.
func TestHeadersThatCannotBeReadAreMalformed(t *testing.T) {
	n := open(t, Options{Embedded: Embedded{Listen: "127.0.0.1:0"}})
	r := dialRaw(t, n.NATSAddr())
	here := sid(n.NodeID(), 5)
	exclude := "Belfry-Exclude: " + here + "\r\n"
	bad := map[string]string{
		"no colon":                 "NATS/1.0\r\nX\r\n" + exclude + "\r\n",
		"no empty line":            "NATS/1.0\r\n" + exclude,
		"another version":          "NATS/2.0\r\n" + exclude + "\r\n",
		"a short status":           "NATS/1.0 5\r\n" + exclude + "\r\n",
		"no version":               exclude + "\r\n",
		"behind the empty line":    "NATS/1.0\r\n\r\n" + exclude + "\r\n",
		"a blank before the name":  "NATS/1.0\r\n " + exclude + "\r\n",
		"a blank after the name":   "NATS/1.0\r\nBelfry-Exclude : " + here + "\r\n\r\n",
		"folded":                   "NATS/1.0\r\nX: y\r\n\t" + exclude + "\r\n",
		"a name that is empty":     "NATS/1.0\r\n:" + exclude + "\r\n",
		"of a node":                "NATS/1.0\r\nBelfry-Node: 0000abcd\r\nBelfry-Seq: 100.1\r\n " + exclude + "\r\n",
		"nothing but the bad line": "X\r\n",
	}
	for _, block := range bad {
		r.publish(subjectAll, block, "bad")
	}
	good := map[string]string{
		"none":        "NATS/1.0\r\n\r\n",
		"as written":  "NATS/1.0\r\n" + exclude + "\r\n",
		"no blank":    "NATS/1.0\r\nBelfry-Exclude:" + here + "\r\n\r\n",
		"more blanks": "NATS/1.0\r\nBelfry-Exclude: \t  " + here + "\r\n\r\n",
		"of others":   "NATS/1.0\r\nX-Trace: 1\r\nX-Trace: 2\r\n" + exclude + "\r\n",
		"bare LF":     "NATS/1.0\nBelfry-Exclude: " + here + "\n\n",
	}
	for what, block := range good {
		r.publish(subjectAll, block, what)
	}
	eventually(t, "the good ones", func() bool { return n.Stats().Delivered >= uint64(len(good)) })
	for _, m := range n.messages() {
		what := string(m.Payload)
		if (m.Target.Exclude == here) != (what != "none") || good[what] == "" {
			t.Errorf("%s: delivered with exclude %q", what, m.Target.Exclude)
		}
	}
	if st := n.Stats(); st.Malformed != uint64(len(bad)) {
		t.Errorf("%d malformed, %d sent", st.Malformed, len(bad))
	}
}
