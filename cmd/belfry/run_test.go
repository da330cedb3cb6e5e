package main

import (
	"testing"
	"time"

	"belfry/config"
)

func TestPaceWithin(t *testing.T) {
	for _, tc := range []struct {
		set      int
		sessions int64
		left     time.Duration
		want     int
	}{
		{20000, 0, 20 * time.Second, 20000},
		{20000, 100_000, 20 * time.Second, 20000},
		{20000, 1_000_000, 20 * time.Second, 100_000},
		{1, 3, time.Second, 6},
		{1, 1, time.Hour, 1},
		{10, 100, -time.Second, 100_000}, // no time left: as fast as possible
	} {
		if got := rateWithin(tc.set, tc.sessions, tc.left); got != tc.want {
			t.Errorf("%d sessions in %v at %d a second: %d; want %d", tc.sessions, tc.left, tc.set, got, tc.want)
		}
	}
}

func TestReconnectSpread(t *testing.T) {
	c := config.Default().Shutdown
	for sessions, want := range map[int64]time.Duration{
		0: 0, 18: 900 * time.Microsecond, 20_000: time.Second, 100_000: 5 * time.Second, 200_000: c.ReconnectJitter, 5_000_000: c.ReconnectJitter,
	} {
		if got := reconnectSpread(c, sessions); got != want {
			t.Errorf("%d sessions: %v; want %v", sessions, got, want)
		}
	}
}
