package poller

import "belfry/offheap"

// maxMappings is how many buffers of all shards may be mappings: a quarter of the
// mappings that the kernel allows a process (vm.max_map_count is 65,530).
const maxMappings = 1 << 14

// NewBuffers returns Buffers for the shard's handler. They belong to the shard's
// goroutine.
func (s *Shard) NewBuffers() offheap.Buffers {
	return offheap.NewBuffers(s.opt.Memory.Owner("messages"), maxMappings/s.opt.Shards)
}
