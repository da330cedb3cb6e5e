package handover

import (
	"errors"
	"strings"
	"testing"
)

// Each fact that differs is refused with a sentence that names the setting and both
// values.
func TestFacts(t *testing.T) {
	old := Facts{Node: "n1", Shards: 2, Listen: []string{":80"}, Secure: []string{":443"}, API: ":81", Monitor: ":82", Bus: "embedded", Sessions: 100, Files: 1000}
	if r := old.differ(&old); r != nil {
		t.Errorf("the same: %v", r)
	}
	unnamed, more := old, old
	unnamed.Node = "" // it takes the old one's
	more.Sessions, more.Files = 200, 2000
	for _, f := range []*Facts{&unnamed, &more} {
		if r := old.differ(f); r != nil {
			t.Errorf("%+v: %v", f, r)
		}
	}
	for want, change := range map[string]func(f *Facts){
		"node.name is n2, in the process that serves it is n1":                                 func(f *Facts) { f.Node = "n2" },
		"shards is 3, in the process that serves it is 2":                                      func(f *Facts) { f.Shards = 3 },
		"listen is :90, in the process that serves it is :80":                                  func(f *Facts) { f.Listen = []string{":90"} },
		"tls.listen is none, in the process that serves it is :443":                            func(f *Facts) { f.Secure = nil },
		"api.listen is :91, in the process that serves it is :81":                              func(f *Facts) { f.API = ":91" },
		"api.monitor_listen is none, in the process that serves it is :82":                     func(f *Facts) { f.Monitor = "" },
		"nats (its servers) is external, in the process that serves it is emb":                 func(f *Facts) { f.Bus = "external" },
		"max_connections with upgrade.max_pending is 99, in the process that serves it is 100": func(f *Facts) { f.Sessions = 99 },
		"may open 999 files, the process that serves 1000":                                     func(f *Facts) { f.Files = 999 },
	} {
		f := old
		change(&f)
		if r := old.differ(&f); r == nil || !strings.Contains(r.Text, want) {
			t.Errorf("%v; want %q", r, want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, tc := range []struct{ lowest, highest, want int }{{1, 1, 1}, {1, 9, 1}, {2, 3, 0}, {0, 0, 0}} {
		h := hello{Lowest: tc.lowest, Highest: tc.highest, Version: "9"}
		got, r := h.format("1")
		if got != tc.want || (r == nil) == (tc.want == 0) {
			t.Errorf("%d to %d: %d, %v; want %d", tc.lowest, tc.highest, got, r, tc.want)
		}
	}
}

// A successor that does not fit is refused, and the old process goes on: with belfry
// restart, and with a successor that was started by hand.
func TestRefusal(t *testing.T) {
	_, socket, _, all := startFake(t, 4, envFacts+"=3")
	r, err := Ask(socket, Request{}, func(Progress) {})
	if err != nil || r.Outcome != Refused || !strings.Contains(r.Error, "shards is 3") {
		t.Errorf("%+v, %v", r, err)
	}
	f := facts()
	_, err = Dial(SuccessorOptions{Socket: socket, Facts: f, Version: "9", lowest: 2, highest: 3})
	var refusal *Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Text, "state formats") {
		t.Errorf("another format: %v", err)
	}
	if n := served(all); n != 4 {
		t.Errorf("%d clients are served", n)
	}
	if r, err = Ask(socket, Request{}, func(Progress) {}); err != nil || r.Outcome != Served || r.Sessions != 4 || r.Took <= 0 || r.Silence <= 0 {
		t.Errorf("after the refusals: %+v, %v", r, err)
	}
}

// Ten restarts in a row lose nothing.
func TestTenInARow(t *testing.T) {
	_, socket, addr, all := startFake(t, 20)
	for i := range 10 {
		var phases []string
		r, err := Ask(socket, Request{}, func(p Progress) { phases = append(phases, p.Phase) })
		if err != nil || r.Outcome != Served || r.Sessions != len(all) {
			t.Fatalf("restart %d: %+v, %v", i, r, err)
		}
		if len(phases) < 2 || phases[0] != "started" {
			t.Errorf("progress: %q", phases)
		}
		all = append(all, dialFake(t, addr))
		eventually(t, "all are served", func() bool { return served(all) == len(all) })
	}
	for i, c := range all {
		if c.wrong.Load() > 0 || c.ended.Load() {
			t.Errorf("client %d: %d times wrong, ended: %t", i, c.wrong.Load(), c.ended.Load())
		}
	}
}
