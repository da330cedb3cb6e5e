package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"belfry/auth"
	"belfry/broadcast"
	"belfry/config"
	"belfry/push"
	"belfry/session"
)

// Package config does not import push and broadcast, so it has copies of some
// of their rules. These tests compare the copies with the originals on random
// texts made of pieces that the rules are about: both must accept a text, or
// both must refuse it.

const agreementRounds = 4000

// assemble returns a random row of pieces.
func assemble(rng *rand.Rand, pieces []string) string {
	var b strings.Builder
	for range 1 + rng.IntN(6) {
		b.WriteString(pieces[rng.IntN(len(pieces))])
	}
	return b.String()
}

// agree compares two checks on random rows of pieces. Both answers must occur,
// so that a check that gives the same answer to everything fails.
func agree(t *testing.T, pieces []string, config, theirs func(string) error) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range agreementRounds {
		text := assemble(rng, pieces)
		mine, other := config(text), theirs(text)
		if (mine == nil) != (other == nil) {
			t.Fatalf("%q: config says %v, the other %v", text, mine, other)
		}
		if mine == nil {
			accepted++
		}
	}
	if accepted < 20 || accepted > agreementRounds-20 {
		t.Errorf("%d of %d accepted: choose other pieces", accepted, agreementRounds)
	}
}

// problemOf returns the error of the configuration about one changed setting.
func problemOf(change func(*config.Config)) error {
	c := config.Default()
	change(&c)
	return c.Validate()
}

func TestAddressesAgree(t *testing.T) {
	const key = config.Secret("0123456789abcdef")
	for _, keys := range []int{0, 1} {
		agree(t, []string{"127.0.0.1:", "localhost:", "[::1]:", "::1", "10.0.0.1:", ":", "80", "8081", "0", "+1", "-1", "65536", "[", "]"},
			func(text string) error {
				return problemOf(func(c *config.Config) {
					c.API.Listen = text
					if keys > 0 {
						c.API.Keys = []config.Secret{key}
					}
				})
			},
			func(text string) error { return push.CheckAddress(text, keys) })
	}
}

func TestJWKSAgrees(t *testing.T) {
	agree(t, []string{"https://", "http://", "ftp://", "127.0.0.1", "localhost", "[::1]", "id.example", ":80", ":x", "/keys", "u:p@", "?a=b", "%"},
		func(text string) error {
			return problemOf(func(c *config.Config) { c.Auth.JWT.JWKS = text + "://"[:3*oneIf(!strings.Contains(text, "://"))] })
		},
		func(text string) error {
			return auth.CheckJWKSURL(text + "://"[:3*oneIf(!strings.Contains(text, "://"))])
		})
}

func TestAlgorithmsAgree(t *testing.T) {
	for _, name := range append(auth.Algorithms(), "none", "HS1", "") {
		mine := problemOf(func(c *config.Config) { c.Auth.JWT.Algorithms = []string{name} })
		if (mine == nil) != slices.Contains(auth.Algorithms(), name) {
			t.Errorf("%q: config says %v", name, mine)
		}
	}
}

func TestDeviceClassesAgree(t *testing.T) {
	agree(t, []string{"phone", "A", "_", "-", ".", " ", "ü", "\n", "/", strings.Repeat("x", 15), ":"},
		func(text string) error {
			return problemOf(func(c *config.Config) { c.Session.MaxPerUserClass = []string{text + ":1"} })
		},
		session.CheckDeviceClass)
}

func TestEnvelopeRoomAgrees(t *testing.T) {
	if config.EnvelopeRoom != broadcast.EnvelopeRoom {
		t.Errorf("config has %d bytes, broadcast %d", config.EnvelopeRoom, broadcast.EnvelopeRoom)
	}
}
