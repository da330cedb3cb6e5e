package offheap

import (
	"sync"
	"sync/atomic"
)

// Owners counts the bytes that the containers of a process hold, by what they
// hold them for. Containers of several shards may share an owner, which then
// has the sum. The zero value is ready; a nil *Owners counts nothing.
//
// Its methods may be called on any goroutine.
type Owners struct {
	mu  sync.Mutex // guards all
	all map[string]*Owner
}

// Owner returns the owner of a name, which it makes when it is asked for the
// first time. The names become values of a metric label: they come from a small
// fixed set and never from clients. A nil *Owners returns an owner that nobody
// else sees.
func (o *Owners) Owner(name string) *Owner {
	if o == nil {
		return &Owner{name: name}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all[name] == nil {
		if o.all == nil {
			o.all = map[string]*Owner{}
		}
		o.all[name] = &Owner{name: name}
	}
	return o.all[name]
}

// Bytes returns the bytes of every owner that was ever asked for, by its name.
func (o *Owners) Bytes() map[string]int64 {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	bytes := make(map[string]int64, len(o.all))
	for name, owner := range o.all {
		bytes[name] = owner.Bytes()
	}
	return bytes
}

// Owner says what memory is held for, and how many bytes that is. Every
// container is made with one. The zero value is an owner without a name.
//
// The bytes are the upper limit of what is resident: pages count from the first
// use of a record in them until they are given back to the kernel. Address space
// that was reserved and never used does not count.
//
// Its methods may be called on any goroutine.
type Owner struct {
	name  string
	bytes atomic.Int64
}

// Bytes returns what the owner's containers hold, in bytes.
func (o *Owner) Bytes() int64 { return o.bytes.Load() }

// Add counts n more bytes, fewer if n is negative. The containers do that on
// their own; Add is for a mapping that is made elsewhere.
func (o *Owner) Add(n int) { o.bytes.Add(int64(n)) }
