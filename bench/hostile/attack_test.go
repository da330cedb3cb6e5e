package hostile

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every attack can be carried out: its name is unique, its numbers of attackers
// rise and fit into a process, and its plan does something.
func TestAttacks(t *testing.T) {
	names := Names()
	for i, a := range Attacks() {
		if slices.Contains(names[:i], a.Name) || a.Name == "" || a.What == "" || strings.ContainsAny(a.Name, ":, ") {
			t.Errorf("name %q, %q", a.Name, a.What)
		}
		if len(a.Counts) == 0 || !slices.IsSorted(a.Counts) {
			t.Errorf("%s: counts %v", a.Name, a.Counts)
		}
		for _, n := range a.Counts {
			if n < 1 || n > maxAttackers {
				t.Errorf("%s: %d attackers", a.Name, n)
			}
			p := a.Plan(n, Aim{UID: "u"})
			if p.Rate == 0 && p.Count != n {
				t.Errorf("%s: %d attackers planned as %d", a.Name, n, p.Count)
			}
			if p.Head == nil && p.Drip == nil {
				t.Errorf("%s: does nothing", a.Name)
			}
			if p.Upgrade && !bytes.HasPrefix(p.Head(n-1), []byte("GET /ws")) {
				t.Errorf("%s: no upgrade request: %.40q", a.Name, p.Head(n-1))
			}
			if p.Events && !bytes.HasPrefix(p.Head(n-1), []byte("GET /sse")) {
				t.Errorf("%s: no request for an event stream: %.40q", a.Name, p.Head(n-1))
			}
			if p.Upgrade && p.Deflate != bytes.Contains(p.Head(n-1), []byte("permessage-deflate")) {
				t.Errorf("%s: deflate %v: %q", a.Name, p.Deflate, p.Head(n-1))
			}
			if p.Renew && (!p.Reads || p.Again || p.Stays) {
				t.Errorf("%s: cannot wait for its pong, or does two things at its end", a.Name)
			}
			if (len(p.Drip) > 0) != (p.Every > 0) || p.Every > time.Second {
				t.Errorf("%s: drips every %v", a.Name, p.Every)
			}
		}
	}
}

// No user has more sessions than the default of session.max_per_user, so that
// the attack is measured and not this limit.
func TestAttackersOfOneUser(t *testing.T) {
	for _, n := range []int{1, 8, 500, 1000, 8000} {
		head := v1(n, Aim{UID: "hostile"})
		sessions := make(map[string]int)
		for i := range n {
			line, _, _ := bytes.Cut(head(i), []byte("\r\n"))
			sessions[string(line)]++
		}
		for uid, k := range sessions {
			if k > 64 {
				t.Errorf("%d attackers: %d sessions of %s", n, k, uid)
			}
		}
		if n <= 32 && len(sessions) != 1 {
			t.Errorf("%d attackers are %d users, so they may miss the witness's shard", n, len(sessions))
		}
	}
}

// No name occurs twice, so that each subscription is new.
func TestNewTopics(t *testing.T) {
	seen := make(map[string]bool)
	for n := range 3 {
		for round := range 3 {
			for name := range strings.SplitSeq(string(newTopics(n, round)), `"`) {
				if strings.HasPrefix(name, "public.") {
					seen[name] = true
				}
			}
		}
	}
	if want := 3 * 3 * 8 * 100; len(seen) != want {
		t.Errorf("%d names, not %d", len(seen), want)
	}
}

// The buffer of a connection that is renewed leaves something in each token
// bucket, so that the ping behind it is read at once. But it uses up most of
// one.
func TestBursts(t *testing.T) {
	const messages, size, commands, topics = 1000, 4 << 20, 500, 128 // the defaults of belfry
	for _, a := range Attacks() {
		p := a.Plan(1, Aim{UID: "u"})
		if !p.Renew || p.Flood == nil {
			continue
		}
		sent, cost := clientFrames(t, p.Flood(0, 1)), 0
		names := 0
		for _, f := range sent {
			cost += len(f.payload)
			if f.head&rsv1 != 0 {
				content, tables := inflated(t, f.payload)
				cost += len(content) - len(f.payload) + max(0, tables-1)*2048
			}
			names += max(1, bytes.Count(f.payload, []byte(`"public.`)))
		}
		v1 := bytes.Contains(p.Head(0), []byte("belfry.v1"))
		if len(sent) >= messages || cost >= size || v1 && names >= commands {
			t.Errorf("%s: %d messages of %d bytes, %d commands", a.Name, len(sent), cost, names)
		}
		if len(sent) < messages*9/10 && cost < size/2 && (!v1 || names < 3*topics) {
			t.Errorf("%s: too little: %d messages of %d bytes, %d commands", a.Name, len(sent), cost, names)
		}
	}
}

// The messages of the attacks on compression are what their names say, and
// belfry accepts all of them but the bomb.
func TestDeflateMessages(t *testing.T) {
	for name, c := range map[string]struct {
		message               []byte
		content, tables, most int // bytes of content, tables, most bytes of the message
	}{
		"largest":       {largest(), maxMessage, 1, 120},
		"emptyTables":   {emptyTables(), 0, freeTables, 2000},
		"manyTables":    {manyTables(), maxMessage, mostTables, maxMessage},
		"bomb":          {bomb(), 16 << 20, 1, 17_000},
		"tiny":          {tiny(), 1, 0, 10},
		"shortCommand":  {shortCommand(), 15, 0, 30},
		"costlyCommand": {costlyCommand(), len(costly()), 1, 200},
	} {
		frames := clientFrames(t, c.message)
		if len(frames) != 1 || frames[0].head != 0x80|rsv1|opText {
			t.Errorf("%s: %d frames", name, len(frames))
			continue
		}
		content, tables := inflated(t, frames[0].payload)
		if len(content) != c.content || tables < c.tables-1 || tables > c.tables+1 || len(c.message) > c.most {
			t.Errorf("%s: %d bytes of content and %d tables in %d bytes", name, len(content), tables, len(c.message))
		}
	}
	frames := clientFrames(t, pieces())
	var payload []byte
	for i, f := range frames {
		payload = append(payload, f.payload...)
		if len(f.payload) != 1 || f.head&rsv1 != 0 != (i == 0) || f.head&0x80 != 0 != (i == len(frames)-1) {
			t.Errorf("fragment %d: %x with %d bytes", i, f.head, len(f.payload))
		}
	}
	if content, _ := inflated(t, payload); string(content) != noise(1600) || len(frames) > 1024 || len(frames) < 900 {
		t.Errorf("%d bytes in %d fragments", len(content), len(frames))
	}
	if !json.Valid([]byte(costly())) || len(costly()) > maxMessage {
		t.Errorf("costly: %d bytes", len(costly()))
	}
}

func TestFind(t *testing.T) {
	all, err := Find(nil)
	if err != nil || len(all) != len(Names()) {
		t.Errorf("%d attacks, %v", len(all), err)
	}
	chosen, err := Find([]string{"topics:4", "pings"})
	if err != nil || len(chosen) != 2 || !slices.Equal(chosen[0].Counts, []int{4}) || len(chosen[1].Counts) < 2 {
		t.Errorf("%+v, %v", chosen, err)
	}
	for _, bad := range []string{"nothing", "topics:0", "topics:x", "topics:4x", "topics:999999", ""} {
		if _, err := Find([]string{bad}); err == nil || !strings.Contains(err.Error(), "--only "+bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCounts(t *testing.T) {
	a := Attack{Counts: []int{1, 8, 500}}
	for _, c := range []struct{ asked, want []int }{
		{nil, []int{1, 8, 500}},
		{[]int{2}, []int{2}},
		{[]int{2, 1000, 2000}, []int{2, 500}},
	} {
		if got := (&Options{Counts: c.asked}).counts(a); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, not %v", c.asked, got, c.want)
		}
	}
}
