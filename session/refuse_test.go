package session

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// countingPool knows which of its upgrades are in use.
type countingPool struct {
	mu     sync.Mutex
	used   map[*upgrade]bool
	took   int
	faults int // upgrades that were given back twice
}

func (p *countingPool) Get() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := &upgrade{}
	p.used[o] = true
	p.took++
	return o
}

func (p *countingPool) Put(x any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := x.(*upgrade)
	if !p.used[o] {
		p.faults++
	}
	delete(p.used, o)
}

// refuseRig serves prefixed at /lp, and counts upgrades and log lines.
func refuseRig(t *testing.T, o Options) (r *rig, p *countingPool, logs *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.InfoLevel)
	o.Log = zap.New(core)
	o.Endpoints = []wire.Endpoint{new(byPath).add("/lp", prefixed{name: "prefixed"}, lines{"lines"})}
	r = newRig(t, o)
	p = &countingPool{used: map[*upgrade]bool{}}
	r.upgrades = p
	r.each(func(*shard) {}) // the shards see it
	return r, p, logs
}

// Each place that refuses an upgrade gives it back once, counts its status
// once and writes one line. Where the transport is known, it words the answer.
func TestRefusalGivesBackItsUpgrade(t *testing.T) {
	late := make(lateAuth, 4)
	refuse := func(r *ws.Refusal) func(*rig) {
		return func(*rig) { (<-late)(Grant{}, r) }
	}
	grant := func(g Grant) func(*rig) { return func(*rig) { (<-late)(g, nil) } }
	ask := func(r *rig) { <-late }
	ticks := func(r *rig) { <-late; r.ticks(6) }
	for name, c := range map[string]refusalCase{
		"path":              {line: "GET /nothing HTTP/1.1", status: 404, cause: ws.CausePath, plain: true},
		"method":            {line: "POST /lp HTTP/1.1", status: 405, cause: ws.CauseMethod, plain: true},
		"origin":            {line: "GET /lp HTTP/1.1\r\nOrigin: https://a.example", status: 403, cause: ws.CauseOrigin, plain: true},
		"address":           {o: Options{RatePerAddress: 1}, status: 429, cause: CauseAddress, plain: true}, // before its request
		"sessions":          {o: Options{MaxSessions: 1}, status: 503, cause: CauseSessions},
		"at once":           {line: "GET /lp?uid=a&uid=b HTTP/1.1", status: 400, cause: CauseUID},
		"later":             {o: Options{Authenticator: late}, during: refuse(ws.Unauthorized("no").WithCause(CauseUID)), status: 401, cause: CauseUID},
		"invalid grant":     {o: Options{Authenticator: late}, during: grant(Grant{UID: "\x00"}), status: 500, cause: CauseAuthenticator},
		"max topics":        {o: Options{Authenticator: late, MaxTopics: 1}, during: grant(Grant{Topics: []string{"a", "b"}}), status: 403, cause: CauseMaxTopics},
		"timeout":           {o: Options{Authenticator: late}, during: ticks, status: 408, cause: CauseTimeout},
		"bus":               {o: Options{Interest: newGate(true)}, line: "GET /lp?topic=t HTTP/1.1", during: func(r *rig) { r.waits(1); r.ticks(6) }, status: 503, cause: CauseBus},
		"shutdown":          {o: Options{Authenticator: late}, during: func(r *rig) { ask(r); r.shutDown() }, status: 503, cause: CauseShutdown},
		"shutdown and bus":  {o: Options{Interest: newGate(true)}, line: "GET /lp?topic=t HTTP/1.1", during: func(r *rig) { r.waits(1); r.shutDown() }, status: 503, cause: CauseShutdown},
		"input reclaimed":   {o: Options{Authenticator: late}, during: func(r *rig) { ask(r); r.reclaimAll() }, status: 503, cause: CauseInbound},
		"hangs up, auth":    {o: Options{Authenticator: late}, during: ask},
		"hangs up, waiting": {o: Options{Interest: newGate(true)}, line: "GET /lp?uid=u&topic=t HTTP/1.1", during: func(r *rig) { r.waits(1) }},
	} {
		t.Run(name, func(t *testing.T) { c.run(t) })
	}
}

// refusalCase is a request that is refused, or whose client hangs up.
type refusalCase struct {
	o      Options
	line   string // of the request; "" for /lp
	during func(*rig)
	status int // 0: no answer
	cause  ws.Cause
	plain  bool // the transport is not known
}

func (c *refusalCase) run(t *testing.T) {
	c.o.UpgradeTime = 5 * time.Second
	r, pool, logs := refuseRig(t, c.o)
	held := b2i(c.o.MaxSessions == 1)
	if held == 1 {
		w, _ := r.lp("/lp")
		defer w.Close()
		eventually(t, "held", func() bool { return r.Stats().Sessions == 1 })
	}
	for range 2 * c.o.RatePerAddress {
		before, _ := r.lp("/lp")
		before.Close()
	}
	if c.o.RatePerAddress > 0 {
		r.nothingLeft()
		logs.TakeAll()
		pool.took = 0
	}
	w, err := r.connect()
	if err != nil {
		t.Fatal(err)
	}
	if c.line == "" {
		c.line = "GET /lp HTTP/1.1"
	}
	fmt.Fprintf(w, "%s\r\nHost: x\r\n\r\n", c.line)
	if c.during != nil {
		c.during(r)
	}
	if c.status > 0 {
		r.wantRefusal(w, c.status, c.plain)
	}
	w.Close()
	eventually(t, "gone", func() bool { return r.loop.Stats().Connections == held })
	if pool.faults > 0 || len(pool.used) > 0 || (pool.took == 0) != c.plain {
		t.Errorf("of %d upgrades %d are not given back, %d twice", pool.took, len(pool.used), pool.faults)
	}
	for key, n := range r.Stats().Upgrades {
		if want := key == [2]string{fmt.Sprint(c.status), string(c.cause)}; key[0] != "200" && (n > 1 || (n == 1) != want) {
			t.Errorf("%d answers counted as %v", n, key)
		}
	}
	if lines := logs.FilterLevelExact(zapcore.InfoLevel).All(); len(lines) != 1 {
		t.Errorf("%d lines: %v", len(lines), lines)
	}
}

// wantRefusal reads the answer that refuses, worded by the transport unless it
// is plain.
func (r *rig) wantRefusal(w *rawConn, status int, plain bool) {
	r.t.Helper()
	w.SetReadDeadline(time.Now().Add(clientTimeout))
	line, err := w.br.ReadString('\n')
	if want := fmt.Sprintf("HTTP/1.1 %d ", status); err != nil || !strings.HasPrefix(line, want) || strings.Contains(line, "Prefixed") == plain {
		r.t.Errorf("%q, %v; want %s, by the transport: %v", line, err, want, !plain)
	}
}

// waits waits until so many upgrades wait.
func (r *rig) waits(n int64) {
	r.t.Helper()
	eventually(r.t, "waiting", func() bool { return r.waiting.Load() == n })
	r.each(func(*shard) {})
}

// shutDown ends what there is, as Shutdown does.
func (r *rig) shutDown() {
	r.each(func(h *shard) { h.shutdown.begin(closeOrder{reason: ReasonShutdown}); h.ps.Wake() })
}

// reclaimAll takes back what connections hold of their input.
func (r *rig) reclaimAll() {
	r.each(func(h *shard) {
		for slot, ok := h.ps.Next(0); ok; slot, ok = h.ps.Next(slot + 1) {
			h.receiver.reclaim(slot)
		}
	})
}

// Sessions, moves between shards and refusals for want of a session give their
// upgrades back too.
func TestUpgradesOfSessions(t *testing.T) {
	late := make(lateAuth, 4)
	r, pool, _ := refuseRig(t, Options{Authenticator: late, MaxSessions: 3})
	var all []*rawConn
	for range 4 { // all pass the first look at MaxSessions
		w, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, "GET /lp HTTP/1.1\r\nHost: x\r\n\r\n")
		all = append(all, w)
	}
	uids := r.uids()
	for i := range all {
		(<-late)(Grant{UID: uids[i%2], Topics: []string{"t"}}, nil)
	}
	statuses := map[string]int{}
	for _, w := range all {
		w.SetReadDeadline(time.Now().Add(clientTimeout))
		line, err := w.br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		statuses[line]++
	}
	if statuses["HTTP/1.1 200 OK\r\n"] != 3 || statuses["HTTP/1.1 503 Prefixed\r\n"] != 1 {
		t.Errorf("answers: %v", statuses)
	}
	for _, w := range all {
		w.Close()
	}
	r.nothingLeft()
	if pool.took != 4 || pool.faults > 0 || len(pool.used) > 0 {
		t.Errorf("of %d upgrades %d are not given back, %d twice", pool.took, len(pool.used), pool.faults)
	}
}

// A limit on addresses that a proxy's header reaches is worded by the transport
// as well, and after the origin was found allowed only.
func TestForwardedRefusalThroughTransport(t *testing.T) {
	r, pool, _ := refuseRig(t, Options{RatePerAddress: 1,
		Proxy: ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Header: ws.XForwardedFor}})
	for i := range 6 {
		w, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		origin := [...]string{"", "Origin: https://a.example\r\n"}[i%2]
		fmt.Fprintf(w, "GET /lp HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n%s\r\n", origin)
		line, err := w.br.ReadString('\n')
		want := [...]string{"HTTP/1.1 200 OK", "HTTP/1.1 403 Forbidden", "HTTP/1.1 429 Prefixed", "HTTP/1.1 429 Too Many Requests", "HTTP/1.1 429 Prefixed", "HTTP/1.1 429 Too Many Requests"}[i]
		if err != nil || strings.TrimSpace(line) != want {
			t.Errorf("request %d: %q, %v; want %q", i, line, err, want)
		}
		w.Close()
	}
	r.nothingLeft()
	if pool.faults > 0 || len(pool.used) > 0 {
		t.Errorf("%d upgrades are not given back, %d twice", len(pool.used), pool.faults)
	}
}

// A message is encoded for each variant that some session speaks, and for no
// other, before it takes a place in a mailbox or counts anywhere: shards that
// stand still do not matter.
func TestPreparedHoldsNothing(t *testing.T) {
	r := newRig(t, Options{Endpoints: thirdTransport()})
	c, _ := r.lp("/lp?uid=u&topic=t")
	c.want("thello u  [t]")
	w := r.mustWire("/ws?uid=u&topic=t", "belfry.v1")
	w.expect(t, `"hello"`)
	release := []func(){r.block(0), r.block(1)}
	var prepared []*Delivery
	for _, to := range []message.Target{message.ToAll(), message.ToTopics("t"), message.ToUsers("u")} {
		for range 5000 { // more than any queue has places
			p, err := r.Prepare(&message.Message{Target: to, Payload: []byte("hi")})
			if err != nil {
				t.Fatal(err)
			}
			for i, spoken := range []bool{false, true, true} { // plain, belfry.v1, lines
				if encoded := p.batches[i].Load() != nil; encoded != spoken {
					t.Fatalf("variant %d is encoded: %v", i, encoded)
				}
			}
			prepared = append(prepared, p)
		}
	}
	if n := r.mailBytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted before anything is delivered", n)
	}
	for _, f := range release {
		f()
	}
	if err := prepared[0].Deliver(); err != nil {
		t.Error(err)
	}
	c.want("tlines: hi")
	w.expect(t, "hi")
}

// The refusals of package ws name the settings of this server.
func TestRefusalsNameSettings(t *testing.T) {
	r := newRig(t, Options{})
	for say, setting := range map[string]string{
		"POST /ws HTTP/1.1\r\nHost: x\r\n\r\n":   "; pushes go to the HTTP API, at the address of api.listen",
		"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n": "none is expected: list this address in proxy.protocol, or ",
		"GET /ws HTTP/1.1\r\nOrigin: https://a.example\r\n" + string(request("", "")[len("GET  HTTP/1.1\r\n"):]): "list the origin in upgrade.origins, or ",
	} {
		w, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, say)
		w.SetReadDeadline(time.Now().Add(clientTimeout))
		answer, _ := io.ReadAll(w)
		if !strings.Contains(string(answer), setting) {
			t.Errorf("%.20q: %q; want %q in it", say, answer, setting)
		}
	}
}
