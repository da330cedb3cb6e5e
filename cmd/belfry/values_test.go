package main

import (
	"reflect"
	"testing"
	"time"

	"belfry/broadcast"
	"belfry/session"
)

// TestBusStatsAreShown: every field of broadcast.Stats reaches a metric or
// /v1/stats. A field that nothing shows is counted in vain.
func TestBusStatsAreShown(t *testing.T) {
	inLimits := map[string]bool{"LeftEarly": true} // see belfry.values
	inLimits["Routes"] = true                      // see TestRouteStatsAreShown
	shown := func(st *broadcast.Stats) [2]any { return [2]any{busValues(st), viewBus(st)} }
	nothing := shown(&broadcast.Stats{})
	for field := range reflect.TypeFor[broadcast.Stats]().Fields() {
		var st broadcast.Stats
		switch f := reflect.ValueOf(&st).Elem().FieldByIndex(field.Index); f.Kind() {
		case reflect.Uint64:
			f.SetUint(1)
		case reflect.Int:
			f.SetInt(1)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"a"}))
		}
		if reflect.DeepEqual(shown(&st), nothing) != inLimits[field.Name] {
			t.Errorf("broadcast.Stats.%s: shown in a metric or in /v1/stats: %v", field.Name, inLimits[field.Name])
		}
	}
}

// TestRouteStatsAreShown: every field of broadcast.RouteStats reaches a metric.
func TestRouteStatsAreShown(t *testing.T) {
	nothing := busRouteValues(&broadcast.RouteStats{})
	for field := range reflect.TypeFor[broadcast.RouteStats]().Fields() {
		var st broadcast.RouteStats
		if f := reflect.ValueOf(&st).Elem().FieldByIndex(field.Index); f.Kind() == reflect.Uint64 {
			f.SetUint(1)
		} else {
			st.Fallbacks = map[string]uint64{"timeout": 1}
		}
		if reflect.DeepEqual(busRouteValues(&st), nothing) {
			t.Errorf("broadcast.RouteStats.%s: no metric shows it", field.Name)
		}
	}
}

// TestHistogram: the converted histogram counts each latency below every bound
// that is above it.
func TestHistogram(t *testing.T) {
	us := func(n int) time.Duration { return time.Duration(n) * time.Microsecond }
	h := histogram(&session.Latency{
		Count:  10,
		Sum:    2 * time.Second,
		Bounds: []time.Duration{us(1), us(14), us(16), us(20), us(32), us(1 << 22), us(1 << 30)},
		Counts: []uint64{1, 1, 1, 1, 1, 2, 3},
	})
	if h.Count != 10 || h.Sum != 2 || len(h.Buckets) != 20 {
		t.Errorf("%d observations, sum %v, %d buckets", h.Count, h.Sum, len(h.Buckets))
	}
	for bound, want := range map[time.Duration]uint64{
		us(16): 3, us(32): 5, us(64): 5, us(1 << 21): 5, us(1 << 22): 7, us(1 << 23): 7,
	} {
		if got, ok := h.Buckets[bound.Seconds()]; !ok || got != want {
			t.Errorf("at most %v: %d (%v); want %d", bound, got, ok, want)
		}
	}
}
