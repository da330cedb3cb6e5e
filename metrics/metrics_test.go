package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// update is set by `make docs`: then the tests of generated tables write them.
var update = flag.Bool("update", false, "write generated documentation again")

// filled returns a reading in which every metric has a series, each with a
// different value.
func filled() Values {
	var values Values
	v := reflect.ValueOf(&values).Elem()
	for i, m := range Metrics() {
		f := v.FieldByIndex(m.index)
		set := func(x reflect.Value) {
			if x.CanFloat() {
				x.SetFloat(float64(i) + 0.5)
			} else {
				x.SetUint(uint64(i) + 1)
			}
		}
		if m.Type == "histogram" {
			h := Histogram{Count: 2, Sum: 0.75, Buckets: map[float64]uint64{0.5: 1}}
			if f.Kind() == reflect.Map {
				f.Set(reflect.ValueOf(map[string]Histogram{"x": h}))
			} else {
				f.Set(reflect.ValueOf(h))
			}
			continue
		}
		if f.Kind() != reflect.Map {
			set(f)
			continue
		}
		key := reflect.New(f.Type().Key()).Elem()
		if key.Kind() == reflect.String {
			key.SetString("x")
		} else {
			key.Index(0).SetString("x")
			key.Index(1).SetString("y")
		}
		value := reflect.New(f.Type().Elem()).Elem()
		set(value)
		f.Set(reflect.MakeMap(f.Type()))
		f.SetMapIndex(key, value)
	}
	return values
}

// TestDeclarations checks the rules for the tags of every field of Values.
func TestDeclarations(t *testing.T) {
	v := reflect.TypeFor[Values]()
	names := map[string]bool{}
	for _, m := range Metrics() {
		f := v.FieldByIndex(m.index)
		if !strings.HasPrefix(m.Name, "belfry_") || names[m.Name] {
			t.Errorf("%s: name %q has no belfry_ or is not unique", f.Name, m.Name)
		}
		names[m.Name] = true
		if m.Group == "" {
			t.Errorf("%s is in no group", m.Name)
		}
		if !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s: help %q is not a sentence", m.Name, m.Help)
		}
		plain, labelled := f.Type == reflect.TypeFor[Histogram](), f.Type == reflect.TypeFor[map[string]Histogram]()
		if plain || labelled || m.Type == "histogram" {
			if !plain && !labelled || m.Type != "histogram" || plain != (m.Labels == nil) {
				t.Errorf("%s: type %q of %v with labels %q", m.Name, m.Type, f.Type, m.Labels)
			}
			continue
		}
		if m.Type != "counter" && m.Type != "gauge" {
			t.Errorf("%s: type %q", m.Name, m.Type)
		}
		labels, value := 0, f.Type
		if f.Type.Kind() == reflect.Map {
			labels, value = 1, f.Type.Elem()
			if key := f.Type.Key(); key.Kind() == reflect.Array && key.Elem().Kind() == reflect.String {
				labels = key.Len()
			} else if key.Kind() != reflect.String {
				t.Errorf("%s: keys are %v", m.Name, key)
			}
		}
		if len(m.Labels) != labels {
			t.Errorf("%s: labels %q; its type has %d", m.Name, m.Labels, labels)
		}
		if k := value.Kind(); k != reflect.Uint64 && k != reflect.Float64 {
			t.Errorf("%s: values are %v; allowed are uint64 and float64", m.Name, value)
		}
	}
}

func TestLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(NewCollector(filled))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestCollect(t *testing.T) {
	c := NewCollector(func() Values {
		var v Values
		v.Sessions.Open = 3
		v.Sessions.Closed = map[string]uint64{"client": 2, "gone": 1}
		v.Shards.TickAge = map[string]float64{"0": 0.25}
		v.HTTP.Requests = map[[2]string]uint64{{"/v1/all", "202"}: 7}
		v.Traffic.PushLatency = Histogram{Count: 6, Sum: 1.5, Buckets: map[float64]uint64{0.001: 2, 0.5: 5}}
		v.HTTP.Duration = map[string]Histogram{"/v1/all": {Count: 3, Sum: 0.5, Buckets: map[float64]uint64{0.25: 2}}}
		return v
	})
	const want = `
# HELP belfry_closed_total Connections ended, by reason; see the registry of close codes in docs/protocol.md.
# TYPE belfry_closed_total counter
belfry_closed_total{reason="client"} 2
belfry_closed_total{reason="gone"} 1
# HELP belfry_http_request_duration_seconds Time from the end of a request's head to the end of its answer, including its body and the wait for a busy shard; of a batch, including all lines.
# TYPE belfry_http_request_duration_seconds histogram
belfry_http_request_duration_seconds_bucket{route="/v1/all",le="0.25"} 2
belfry_http_request_duration_seconds_bucket{route="/v1/all",le="+Inf"} 3
belfry_http_request_duration_seconds_sum{route="/v1/all"} 0.5
belfry_http_request_duration_seconds_count{route="/v1/all"} 3
# HELP belfry_http_requests_total Requests answered, by route and status.
# TYPE belfry_http_requests_total counter
belfry_http_requests_total{route="/v1/all",status="202"} 7
# HELP belfry_push_latency_seconds Time from the arrival of a push to users or sessions at this node to the system call that sends it, including the wait for a busy shard.
# TYPE belfry_push_latency_seconds histogram
belfry_push_latency_seconds_bucket{le="0.001"} 2
belfry_push_latency_seconds_bucket{le="0.5"} 5
belfry_push_latency_seconds_bucket{le="+Inf"} 6
belfry_push_latency_seconds_sum 1.5
belfry_push_latency_seconds_count 6
# HELP belfry_sessions Open sessions.
# TYPE belfry_sessions gauge
belfry_sessions 3
# HELP belfry_shard_tick_age_seconds Time since the shard's last tick, which comes once a second; more than a few seconds means a stalled shard.
# TYPE belfry_shard_tick_age_seconds gauge
belfry_shard_tick_age_seconds{shard="0"} 0.25
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want),
		"belfry_closed_total", "belfry_http_request_duration_seconds", "belfry_http_requests_total", "belfry_push_latency_seconds", "belfry_sessions", "belfry_shard_tick_age_seconds"); err != nil {
		t.Error(err)
	}
	if got, want := testutil.CollectAndCount(NewCollector(filled)), len(Metrics()); got != want {
		t.Errorf("%d series of %d metrics", got, want)
	}
}

func scrape(t *testing.T, values func() Values) (int, string) {
	t.Helper()
	h, err := Handler(values)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestHandler(t *testing.T) {
	status, body := scrape(t, filled)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	sessions := fmt.Sprintf("\nbelfry_sessions %d\n", filled().Sessions.Open)
	for _, line := range []string{sessions, "\ngo_goroutines ", "\nprocess_open_fds "} {
		if !strings.Contains(body, line) {
			t.Errorf("no %q among %d bytes", line, len(body))
		}
	}
}

// TestBadLabel checks that a label that is not UTF-8 fails the scrape with
// the metric's name instead of the process.
func TestBadLabel(t *testing.T) {
	status, body := scrape(t, func() Values {
		return Values{Sessions: Sessions{Closed: map[string]uint64{"\xff": 1}}}
	})
	if status != http.StatusInternalServerError || !strings.Contains(body, "belfry_closed_total") {
		t.Errorf("status %d: %s", status, body)
	}
}

// TestReference compares the table in docs/operations.md with Values.
func TestReference(t *testing.T) {
	const name = "../docs/operations.md"
	const begin, end = "<!-- generated by make docs: begin -->\n", "<!-- generated by make docs: end -->\n"
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(page), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the marks %q and %q", name, begin, end)
	}
	var want bytes.Buffer
	if err := Reference(&want); err != nil {
		t.Fatal(err)
	}
	if table == want.String() {
		return
	}
	if !*update {
		t.Fatalf("%s is stale; run make docs", name)
	}
	if err := os.WriteFile(name, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
