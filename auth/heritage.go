package auth

import (
	"encoding/json"
	"fmt"
	"time"
)

// revocationHeritage is the encoding of Heritage. Times are nanoseconds since 1970.
type revocationHeritage struct {
	Everybody int64            `json:"everybody,omitempty"`
	Users     map[string]int64 `json:"users,omitempty"`
}

// Heritage returns the revocations as JSON, for a process that goes on as this node.
func (r *Revocations) Heritage() []byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p, err := json.Marshal(revocationHeritage{r.everybody.Load(), r.users})
	if err != nil {
		panic("auth: " + err.Error()) // a map of strings and numbers
	}
	return p
}

// Inherit adds the revocations that Heritage returned in the process before.
func (r *Revocations) Inherit(p []byte, now time.Time) error {
	var h revocationHeritage
	if err := json.Unmarshal(p, &h); err != nil {
		return fmt.Errorf("auth: revocations that were handed over: %w", err)
	}
	if h.Everybody != 0 {
		_, _ = r.merge(Revocation{Before: time.Unix(0, h.Everybody)}, now)
	}
	for uid, before := range h.Users {
		if _, err := r.merge(Revocation{uid, time.Unix(0, before)}, now); err != nil {
			return fmt.Errorf("auth: revocations that were handed over: %w", err)
		}
	}
	return nil
}

// Inherited says that this node has the revocations of the process before, so that it is
// ready without those of another node. It is called before Run.
func (s *RevocationSync) Inherited() { s.ready.Store(true) }
