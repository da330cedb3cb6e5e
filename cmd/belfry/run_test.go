package main

import (
	"testing"
	"time"
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
		{10, 100, -time.Second, 100_000}, // no time at all: as fast as it goes
	} {
		if got := paceWithin(tc.set, tc.sessions, tc.left); got != tc.want {
			t.Errorf("%d sessions in %v at %d a second: %d; want %d", tc.sessions, tc.left, tc.set, got, tc.want)
		}
	}
}
