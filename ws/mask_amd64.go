package ws

// maskBlocks applies the eight bytes of k, the lowest first, to p again and
// again. The length of p is a multiple of maskBlock and not 0. It uses SSE2,
// which every amd64 processor has. For 4 KiB it takes half of the time of
// maskBlocksGo, and as much as the AVX2 of github.com/gobwas/ws.
//
//go:noescape
func maskBlocks(p []byte, k uint64)
