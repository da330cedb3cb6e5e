package push

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

// use returns a function that sends a request with a key.
func use(secret string) func(*keyring) error {
	return func(ring *keyring) error {
		r := httptest.NewRequest("GET", "/v1/stats", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		c, err := ring.check(r)
		c.requests.Add(1)
		return err
	}
}

// TestPrepareKeys: keys change at once, counters do not fall, and nothing changes
// before apply is called.
func TestPrepareKeys(t *testing.T) {
	s := &Server{}
	ring, err := newKeyring([]Key{{"a", "key-a"}, {"b", "key-b"}})
	if err != nil {
		t.Fatal(err)
	}
	s.keys.Store(ring)
	useA := use("key-a")
	useC := use("key-c")
	if err := useA(s.keys.Load()); err != nil {
		t.Fatal(err)
	}
	apply, err := s.PrepareKeys([]Key{{"b", "key-b"}, {"c", "key-c"}})
	if err != nil || useA(s.keys.Load()) != nil || useC(s.keys.Load()) == nil {
		t.Fatalf("before apply: %v", err)
	}
	apply()
	if useA(s.keys.Load()) == nil || useC(s.keys.Load()) != nil {
		t.Error("the keys did not change")
	}
	counts := map[string]uint64{}
	for _, c := range s.keys.Load().all {
		counts[c.name] += c.requests.Load()
	}
	if counts["a"] != 2 || counts["c"] != 1 || counts["none"] != 2 || len(counts) != 5 {
		t.Errorf("counts %v", counts)
	}
	for _, bad := range [][]Key{nil, {{"a", "k"}, {"a", "l"}}, {{"none", "k"}}, {{"", "a b"}}} {
		if _, err := s.PrepareKeys(bad); err == nil || strings.Contains(err.Error(), "a b") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// reloads returns an Options.Reload.
func reloads(err error) func() (any, error) {
	return func() (any, error) {
		return map[string]any{"applied": []string{"log.level"}, "needs_restart": []string{}, "unchanged": 202, "certificates": []string{"tls"}}, err
	}
}

// reloads reads settings again, in every way that the document describes.
func (c *contract) reloads() {
	const path = "/v1/reload"
	_, open, _ := start(c.t, Options{Reload: reloads(nil)})
	c.send(open, "POST", path, path, "")
	c.send(open, "POST", path, path+"?x=1", "")
	c.send(open, "POST", path, path, "", "Host: evil.example")
	_, keyed, _ := start(c.t, Options{Reload: reloads(nil), Keys: []Key{{"", "key"}}})
	c.send(keyed, "POST", path, path, "")
	_, bad, _ := start(c.t, Options{Reload: reloads(&SettingsError{File: "belfry.yaml", Line: 3, Column: 9, Field: "log.level", Detail: "no level"})})
	c.send(bad, "POST", path, path, "")
	_, broken, _ := start(c.t, Options{Reload: reloads(errors.New("a fault"))})
	c.send(broken, "POST", path, path, "")
	_, without, _ := start(c.t, Options{})
	c.send(without, "POST", path, path, "")
	full, busy, _ := start(c.t, Options{Reload: reloads(nil), Limits: Limits{MaxRequests: 1}})
	full.count.inFlight.Add(1) // stands for a request that does not end
	c.send(busy, "POST", path, path, "")
}

// TestReloadFault: the answer says where the fault is.
func TestReloadFault(t *testing.T) {
	_, ts, _ := start(t, Options{Reload: reloads(&SettingsError{File: "belfry.yaml", Line: 3, Column: 9, Field: "log.level", Detail: "no level"})})
	a := request(t, ts, "POST", "/v1/reload", nil)
	want := `"detail":"no level","field":"log.level","file":"belfry.yaml","line":3,"column":9}`
	if a.StatusCode != 422 || !strings.Contains(a.body, want) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
