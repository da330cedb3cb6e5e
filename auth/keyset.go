package auth

import (
	"slices"
	"time"
)

// maxTried is how many keys are tried for a token that does not say which one has
// signed it. Each try costs as much as a verification.
const maxTried = 8

// keySet is a set of keys. It does not change.
type keySet struct {
	keys       []*key
	algorithms []string  // that some key is used for, in the order of Algorithms
	since      time.Time // when the set came into force
	cheap      bool      // all algorithms are HMACs
}

func newKeySet(keys []*key, now time.Time) *keySet {
	s := &keySet{keys: keys, since: now}
	for _, name := range Algorithms() {
		if slices.ContainsFunc(keys, func(k *key) bool { return slices.Contains(k.algorithms, name) }) {
			s.algorithms = append(s.algorithms, name)
		}
	}
	s.cheap = !slices.ContainsFunc(s.algorithms, func(name string) bool { return !slices.Contains(hmacAlgorithms, name) })
	return s
}

// find returns the keys to try for a token with an algorithm and a key id, "" for
// none; no keys if the id is unknown. A key without an id may have signed any token
// of its algorithm, and a token without an id may be signed by any key. more says
// that there are more keys than may be tried.
func (s *keySet) find(algorithm, id string) (keys []*key, more bool) {
	for _, k := range s.keys {
		if (id == "" || k.id == "" || k.id == id) && slices.Contains(k.algorithms, algorithm) {
			if len(keys) == maxTried {
				return keys, true
			}
			keys = append(keys, k)
		}
	}
	return keys, false
}

// has says whether a key has this id.
func (s *keySet) has(id string) bool {
	return id != "" && slices.ContainsFunc(s.keys, func(k *key) bool { return k.id == id })
}
