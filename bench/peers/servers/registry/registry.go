// Package registry keeps the connections of a peer by user.
package registry

import "sync"

// Registry holds connections of type C by user id. Its methods may be called
// from any goroutine.
type Registry[C comparable] struct {
	mu    sync.RWMutex // guards users
	users map[string]map[C]struct{}
}

// New returns an empty registry.
func New[C comparable]() *Registry[C] {
	return &Registry[C]{users: make(map[string]map[C]struct{})}
}

// Add adds a connection of user uid.
func (r *Registry[C]) Add(uid string, c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.users[uid]
	if of == nil {
		of = make(map[C]struct{}, 1)
		r.users[uid] = of
	}
	of[c] = struct{}{}
}

// Remove removes a connection of user uid; it need not be registered.
func (r *Registry[C]) Remove(uid string, c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.users[uid]
	delete(of, c)
	if len(of) == 0 {
		delete(r.users, uid)
	}
}

// Len returns the number of connections.
func (r *Registry[C]) Len() (n int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, of := range r.users {
		n += len(of)
	}
	return n
}

// All calls f for every connection. f must neither block nor call the
// registry.
func (r *Registry[C]) All(f func(C)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, of := range r.users {
		for c := range of {
			f(c)
		}
	}
}

// User calls f for every connection of user uid, as All does.
func (r *Registry[C]) User(uid string, f func(C)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for c := range r.users[uid] {
		f(c)
	}
}
