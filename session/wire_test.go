package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// thirdTransport serves prefixed beside the default endpoint.
func thirdTransport() []wire.Endpoint {
	return []wire.Endpoint{defaultEndpoint(), new(byPath).add("/lp", prefixed{name: "prefixed"}, lines{"lines"})}
}

// A protocol is added without a line in this package: its answer, frames,
// pings, close frames, decoder and commands are its own.
func TestThirdTransport(t *testing.T) {
	r := newRig(t, Options{Endpoints: thirdTransport(), PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second})
	beside := r.mustWire("/ws?topic=a", "")
	c, status := r.lp("/lp?uid=u")
	if !strings.HasPrefix(status, "HTTP/1.1 200 OK\r\nX-Path: /lp\r\n") {
		t.Fatal(status)
	}
	c.want("thello u  []")
	c.say(prefixedText, "sub 1 a\nsub 2 b\nping 3\nnonsense 4\nping 5") // several commands; none behind one that is wrong
	c.want("tdone 1", "tdone 2", "tdone 3", "terror 4 bad_request")
	r.deliver(message.ToTopics("a"), "news")
	c.want("tlines: news")
	if _, p, err := beside.frame(); err != nil || string(p) != "news" {
		t.Errorf("a WebSocket beside it got %q, %v", p, err)
	}
	c.say(prefixedPing, "are you there")
	c.want("!are you there")

	// It is pinged, and lives as long as it answers.
	for range 3 {
		r.ticks(10)
		c.want("?")
		c.say(prefixedPong, "")
		eventually(t, "pong read", func() bool { return r.Stats().PongsIn > 0 })
	}
	st := r.Stats()
	if st.Upgrades[[2]string{"200", "none"}] != 1 || st.Protocols[[2]string{"prefixed", "lines"}] != 1 {
		t.Errorf("counted %v, %v", st.Upgrades, st.Protocols)
	}
	c.say(prefixedClose, "")
	c.want("x7") // the reply holds the client's code
	c.ends()
	eventually(t, "gone", func() bool { return r.Stats().Closed["client"] == 1 })
}

// However the bytes come, the transport's own decoder and the assembly of long
// messages see the same.
func TestThirdTransportInPieces(t *testing.T) {
	r := newRig(t, Options{Endpoints: thirdTransport(), Limits: ws.Limits{MaxMessage: 200 << 10}})
	c, _ := r.lp("/lp?uid=u", appendPrefixed(nil, prefixedText, "ping behind"))
	c.want("thello u  []", "tdone behind")
	long := "ping " + strings.Repeat("x", 100<<10)
	p := appendPrefixed(appendPrefixed(nil, prefixedPing, "p"), prefixedText, "ping short")
	for i := range p {
		r.feedTo(c, p[i:i+1])
	}
	c.want("!p", "tdone short")
	p = appendPrefixed(nil, prefixedText, long)
	for _, cut := range []int{1, 4, 5, 6, 20 << 10, 70 << 10, len(p) - 1} {
		r.feedTo(c, p[:cut])
		r.feedTo(c, p[cut:])
		c.want("tdone " + long[5:])
	}
	c.say(prefixedText, strings.Repeat("y", 200<<10+1))
	c.want("tbye too_big", "x1009 prefixed message is too big false 0s")
	c.ends()
	c, _ = r.lp("/lp?uid=u")
	c.want("thello u  []")
	c.Write([]byte("GET / HTTP/1.1\r\n"))
	c.want("tbye protocol", "x1002 no frame begins with 'G' false 0s")
	c.ends()
}

// feedTo sends bytes and waits until the server has read them.
func (r *rig) feedTo(c *lpConn, p []byte) {
	r.t.Helper()
	want := r.loop.Stats().ReadBytes + uint64(len(p))
	c.Write(p)
	eventually(r.t, "bytes read", func() bool { return r.loop.Stats().ReadBytes >= want })
}

// silentTransport can neither ping nor say that it closes.
type silentTransport struct{ prefixed }

func (silentTransport) AppendPing(dst []byte) []byte                 { return dst }
func (silentTransport) AppendClose(dst []byte, _ *wire.Close) []byte { return dst }

// A client of a transport without pings is not asked for a pong, and one of a
// transport without close frames is not waited for.
func TestTransportWithoutControlFrames(t *testing.T) {
	e := new(byPath).add("/lp", silentTransport{prefixed{name: "silent"}}, lines{"lines"})
	r := newRig(t, Options{Endpoints: []wire.Endpoint{e}, PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second, Idle: time.Minute})
	c, _ := r.lp("/lp?uid=u")
	c.want("thello u  []")
	r.ticks(40)
	if st := r.Stats(); st.Sessions != 1 || st.PingsOut != 0 {
		t.Errorf("%d sessions, %d pings", st.Sessions, st.PingsOut)
	}
	r.ticks(21)
	c.want("tbye idle")
	c.ends()
	eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
}

// faultyTransport panics where it is asked for what holds the word.
type faultyTransport struct{ prefixed }

func (f faultyTransport) AppendFrame(dst []byte, p wire.Payload) []byte {
	fault("AppendFrame", p.Data)
	return f.prefixed.AppendFrame(dst, p)
}

func (f faultyTransport) AppendAccept(dst []byte, r *ws.Request) []byte {
	fault("AppendAccept", r.Path())
	return f.prefixed.AppendAccept(dst, r)
}

func (f faultyTransport) AppendRefusal(dst, accept []byte, r *ws.Refusal, date []byte) []byte {
	panic("injected in AppendRefusal")
}

// A transport that panics for one variant costs a message, and no place of a
// shard; the variants beside it go on.
func TestFaultInTransport(t *testing.T) {
	bad := faultyTransport{prefixed{name: "faulty"}}
	e := new(byPath).add("/lp", prefixed{name: "prefixed"}, lines{"good"}).add("/bad", bad, lines{"bad"}).add("/"+faultWord, bad, lines{"bad"})
	r := newRig(t, Options{Endpoints: []wire.Endpoint{e}, Log: zap.NewNop()})
	r.faults = true
	good, _ := r.lp("/lp?uid=u&topic=t")
	good.want("thello u  [t]")
	r.lp("/bad?uid=u&topic=t")
	for _, to := range []message.Target{message.ToAll(), message.ToTopics("t"), message.ToUsers("u")} {
		for range 2000 { // more than any queue has places
			if err := r.push(&message.Message{Target: to, Payload: []byte(faultWord)}); err == nil {
				t.Fatalf("%v: no error", to)
			}
		}
		r.deliver(to, "fine")
		good.want("tgood: fine")
	}
	if st := r.Stats(); st.Poller.Panics != 6000 || st.Sessions != 2 {
		t.Errorf("%d panics, %d sessions", st.Poller.Panics, st.Sessions)
	}
	// In the answer to a request it costs one connection.
	for _, path := range []string{"/" + faultWord, "/bad?uid=a&uid=b"} {
		before := r.Stats().Closed["internal"]
		w, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		eventually(t, path+": closed", func() bool { return r.Stats().Closed["internal"] == before+1 })
		w.Close()
	}
	eventually(t, "only the two are left", func() bool { return r.loop.Stats().Connections == 2 })
}

// byNumber serves so many variants, chosen by ?v=.
type byNumber int

func (n byNumber) Paths() []string { return []string{"/lp"} }

func (n byNumber) Variants() (all []wire.Variant) {
	for i := range int(n) {
		all = append(all, wire.Variant{Transport: prefixed{name: "prefixed"}, Encoding: lines{fmt.Sprint("lines", i)}})
	}
	return all
}

func (n byNumber) Choose(r *ws.Request) (v int, _ *ws.Refusal) {
	text, _ := r.Query("v")
	fmt.Sscan(string(text), &v)
	return v, nil
}

// There may be 256 variants, and each session is sent its own.
func TestManyVariants(t *testing.T) {
	r := newRig(t, Options{Endpoints: []wire.Endpoint{byNumber(maxVariants)}})
	var clients []*lpConn
	spoken := []int{0, 7, 8, 9, 64, 128, 255}
	for _, v := range spoken {
		c, _ := r.lp(fmt.Sprintf("/lp?uid=u&topic=t&v=%d", v))
		c.want("thello u  [t]")
		clients = append(clients, c)
	}
	for _, to := range []message.Target{message.ToAll(), message.ToTopics("t"), message.ToUsers("u")} {
		r.deliver(to, "hi")
		for i, v := range spoken {
			clients[i].want(fmt.Sprintf("tlines%d: hi", v))
		}
	}
	for _, many := range [][]wire.Endpoint{{byNumber(maxVariants + 1)}, {defaultEndpoint(), byNumber(maxVariants - 1)}} {
		if s, err := New(Options{Endpoints: many}); err == nil || !strings.Contains(err.Error(), "257 variants") {
			t.Errorf("257 variants: %v", err)
			s.close()
		}
	}
	if _, err := New(Options{Endpoints: []wire.Endpoint{byNumber(0)}}); err == nil {
		t.Error("no variants: no error")
	}
}

// A variant that an endpoint does not have costs the connection that asked.
func TestVariantThatIsNotThere(t *testing.T) {
	r := newRig(t, Options{Endpoints: []wire.Endpoint{byNumber(3), defaultEndpoint()}, Log: zap.NewNop()})
	r.faults = true
	for _, v := range []int{-1, 3, 256} {
		before := r.Stats().Closed["internal"]
		w, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "GET /lp?v=%d HTTP/1.1\r\nHost: x\r\n\r\n", v)
		eventually(t, "closed", func() bool { return r.Stats().Closed["internal"] == before+1 })
		w.Close()
	}
}

// Endpoints whose paths collide, or whose encodings need what is not there, are
// refused when the server is made.
func TestEndpointsThatDoNotFit(t *testing.T) {
	lp := prefixed{name: "prefixed"}
	login := loginLines{lines{"login"}}
	for name, o := range map[string]Options{
		"the same path":            {Endpoints: []wire.Endpoint{defaultEndpoint(), new(byPath).add("/ws", lp, lines{"lines"})}},
		"the path for echoes":      {Echo: true, Endpoints: []wire.Endpoint{new(byPath).add(EchoPath, lp, lines{"lines"})}},
		"no path":                  {Endpoints: []wire.Endpoint{new(byPath).add("lp", lp, lines{"lines"})}},
		"nobody checks the login":  {Endpoints: []wire.Endpoint{new(byPath).add("/lp", lp, login)}},
		"nobody can send a login":  {Authenticator: passwords{}, Endpoints: []wire.Endpoint{new(byPath).add("/lp", prefixed{mute: true}, login)}},
		"an endpoint without path": {Endpoints: []wire.Endpoint{&byPath{variants: []wire.Variant{{Transport: lp, Encoding: lines{"lines"}}}}}},
	} {
		if s, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
			s.close()
		}
	}
}

// TestTopicsOfEveryEncoding: a topic is a NATS subject, so its name is checked
// although an encoding has not.
func TestTopicsOfEveryEncoding(t *testing.T) {
	r := newRig(t, Options{Endpoints: thirdTransport(), Subscribe: []string{"*"}})
	conn, _ := r.lp("/lp?uid=u")
	conn.want("thello u  []")
	conn.say(prefixedText, "sub 1 >")
	conn.want("terror 1 bad_request")
	conn.Close()
}
