package metrics

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
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

// parsed returns metrics as Prometheus' own parser reads the text format.
func parsed(t *testing.T, values ...any) prometheus.GathererFunc {
	t.Helper()
	var e exposition
	for _, v := range values {
		e.add(v)
	}
	if e.err != nil {
		t.Fatal(e.err)
	}
	return func() ([]*dto.MetricFamily, error) { return parse(bytes.NewReader(e.text)) }
}

func parse(text io.Reader) (all []*dto.MetricFamily, err error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	for _, name := range slices.Sorted(maps.Keys(families)) {
		all = append(all, families[name])
	}
	return all, err
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(parsed(t, filled()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestExposition(t *testing.T) {
	var v Values
	v.Sessions.Open = 3
	v.Sessions.Closed = map[string]uint64{"client": 2, "gone": 1}
	v.Shards.TickAge = map[string]float64{"0": 0.25}
	v.HTTP.Requests = map[[2]string]uint64{{"/v1/all", "202"}: 7}
	v.Traffic.PushLatency = Histogram{Count: 6, Sum: 1.5, Buckets: map[float64]uint64{0.001: 2, 0.5: 5}}
	v.HTTP.Duration = map[string]Histogram{"/v1/all": {Count: 3, Sum: 0.5, Buckets: map[float64]uint64{0.25: 2}}}
	const want = `
# HELP belfry_closed_total Connections ended, by reason, and sessions that logged in and go on as others (login); see the registry of close codes in docs/protocol.md.
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
	if err := testutil.GatherAndCompare(parsed(t, v), strings.NewReader(want),
		"belfry_closed_total", "belfry_http_request_duration_seconds", "belfry_http_requests_total", "belfry_push_latency_seconds", "belfry_sessions", "belfry_shard_tick_age_seconds"); err != nil {
		t.Error(err)
	}
	if got, err := testutil.GatherAndCount(parsed(t, filled())); err != nil || got != len(Metrics()) {
		t.Errorf("%d series of %d metrics, %v", got, len(Metrics()), err)
	}
}

func scrape(values func() Values, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	for _, h := range header {
		r.Header.Set("Accept-Encoding", h)
	}
	w := httptest.NewRecorder()
	Handler(values).ServeHTTP(w, r)
	return w
}

// Two labels are in the order of their names, as the client library has them.
func TestLabelsAreSorted(t *testing.T) {
	var e exposition
	e.add(Values{Sessions: Sessions{Upgrades: map[[2]string]uint64{{"503", "sessions"}: 1, {"101", "none"}: 2}}})
	const want = "belfry_upgrades_total{cause=\"none\",status=\"101\"} 2\nbelfry_upgrades_total{cause=\"sessions\",status=\"503\"} 1\n"
	if !strings.Contains(string(e.text), want) {
		t.Errorf("no %s in\n%s", want, e.text)
	}
}

func TestHandler(t *testing.T) {
	w := scrape(filled)
	body := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Fatalf("status %d, %v: %s", w.Code, w.Header(), body)
	}
	sessions := fmt.Sprintf("\nbelfry_sessions %d\n", filled().Sessions.Open)
	for _, line := range []string{sessions, "\ngo_goroutines ", "\nprocess_open_fds "} {
		if !strings.Contains(body, line) {
			t.Errorf("no %q among %d bytes", line, len(body))
		}
	}
	if _, err := parse(strings.NewReader(body)); err != nil {
		t.Error(err)
	}
}

func TestScrapeIsCompressed(t *testing.T) {
	for header, want := range map[string]bool{"gzip": true, "deflate, gzip;q=0.5": true, "gzip;q=0": false, "gzip;q=0.0": false, "br": false} {
		w := scrape(filled, header)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("%s: %v", header, w.Header())
		}
		if !want {
			continue
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(z); err != nil {
			t.Error(err)
		}
	}
}

// The fifth scrape at the same time is refused, and the others are not.
func TestScrapesAreBounded(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{})
	h := Handler(func() Values {
		began <- struct{}{}
		<-release
		return Values{}
	})
	codes := make(chan int)
	ask := func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		codes <- w.Code
	}
	for range maxScrapes {
		go ask()
		<-began
	}
	go ask()
	if code := <-codes; code != http.StatusServiceUnavailable {
		t.Errorf("the scrape beyond the limit: %d", code)
	}
	close(release)
	for range maxScrapes {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("a scrape within the limit: %d", code)
		}
	}
}

// The metrics of the Go runtime and of the process are those of Prometheus'
// client library, with the same types, labels and, where they stand still, values.
func TestRuntimeIsThatOfTheClientLibrary(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	want, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have, err := parsed(t, readRuntime())()
	if err != nil {
		t.Fatal(err)
	}
	shape := func(all []*dto.MetricFamily) (shapes []string) {
		for _, f := range all {
			m := f.Metric[0]
			s := fmt.Sprint(f.GetName(), f.GetType(), m.Label, len(m.GetSummary().GetQuantile()))
			switch f.GetName() {
			case "go_gc_gogc_percent", "go_gc_gomemlimit_bytes", "go_sched_gomaxprocs_threads", "process_max_fds", "process_virtual_memory_max_bytes", "process_start_time_seconds":
				s += fmt.Sprint(m.GetGauge().GetValue())
			}
			shapes = append(shapes, s)
		}
		return shapes
	}
	if a, b := shape(have), shape(want); !slices.Equal(a, b) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	near := func(name string, a, b float64) {
		if a < 0.8*b || a > 1.25*b {
			t.Errorf("%s: %v, the client library says %v", name, a, b)
		}
	}
	for i, f := range have {
		switch f.GetName() {
		case "process_resident_memory_bytes", "process_virtual_memory_bytes", "go_memstats_sys_bytes", "go_memstats_heap_sys_bytes", "go_memstats_stack_sys_bytes":
			near(f.GetName(), f.Metric[0].GetGauge().GetValue(), want[i].Metric[0].GetGauge().GetValue())
		case "go_memstats_mallocs_total", "process_network_receive_bytes_total":
			near(f.GetName(), f.Metric[0].GetCounter().GetValue(), want[i].Metric[0].GetCounter().GetValue())
		}
	}
}

// TestBadLabel checks that a label that is not UTF-8 fails the scrape with
// the metric's name instead of the process.
func TestBadLabel(t *testing.T) {
	w := scrape(func() Values {
		return Values{Sessions: Sessions{Closed: map[string]uint64{"\xff": 1}}}
	})
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "belfry_closed_total") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// Labels may have any text that is UTF-8.
func TestLabelsAreEscaped(t *testing.T) {
	const odd = "a\\b\"c\nd{},="
	all, err := parsed(t, Values{Sessions: Sessions{Closed: map[string]uint64{odd: 1}}})()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "belfry_closed_total" && f.Metric[0].Label[0].GetValue() != odd {
			t.Errorf("%q, want %q", f.Metric[0].Label[0].GetValue(), odd)
		}
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
