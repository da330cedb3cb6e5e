//go:build !amd64

package ws

// maskBlocks applies the eight bytes of k, the lowest first, to p again and
// again. The length of p is a multiple of maskBlock and not 0.
func maskBlocks(p []byte, k uint64) { maskBlocksGo(p, k) }
