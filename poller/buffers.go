package poller

import "belfry/offheap"

// maxMappings bounds the buffers of all shards that are mappings: a quarter of
// what the kernel allows a process (vm.max_map_count is 65,530).
const maxMappings = 1 << 14

// NewBuffers returns what the shard's handler makes buffers with.
func (s *Shard) NewBuffers() offheap.Buffers {
	return offheap.NewBuffers(s.opt.Memory.Owner("messages"), maxMappings/s.opt.Shards)
}
