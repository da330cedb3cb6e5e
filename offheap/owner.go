package offheap

import (
	"sync"
	"sync/atomic"
)

// Owners counts the bytes that the containers of a process hold, by their purpose.
// Containers of several shards may share an owner, which then has their sum. The
// zero value is ready to use; a nil *Owners counts nothing.
//
// Its methods may be called on any goroutine.
type Owners struct {
	mu  sync.Mutex // guards all
	all map[string]*Owner
}

// Owner returns the owner with a name, and makes it at the first call. The names
// become values of a metric label: they must come from a small fixed set and never
// from clients. A nil *Owners returns an owner that Bytes does not show.
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

// Bytes returns the bytes of all owners by name. The map belongs to the caller.
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

// Owner is a purpose of memory, and counts the bytes held for it. Every container
// has one. The zero value is an owner without a name.
//
// The bytes are an upper limit of the resident memory: a page counts from the first
// use of a record in it until it is given back to the kernel. Address space that
// is reserved and was never used does not count.
//
// Its methods may be called on any goroutine.
type Owner struct {
	name  string
	bytes atomic.Int64
}

// Bytes returns how many bytes the owner's containers hold.
func (o *Owner) Bytes() int64 { return o.bytes.Load() }

// Add adds n bytes to the count; n may be negative. Containers call it themselves.
// Other code calls it for mappings that it makes.
func (o *Owner) Add(n int) { o.bytes.Add(int64(n)) }
