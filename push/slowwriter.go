package push

import "syscall"

// slowWriter writes to a connection and knows when its client does not read:
// what the kernel does not take at once waits, and meanwhile the connection
// gives way to others. Only batches, which have a bound of their own, do not:
// their clients may send everything before they read.
type slowWriter struct {
	raw  syscall.RawConn
	once func(fd uintptr) bool // one write(2), whatever comes of it
	p    []byte
	n    int
}

func (w *slowWriter) write(c *conn, p []byte) (int, error) {
	if w.once == nil {
		raw, err := c.SyscallConn()
		if err != nil {
			return 0, err
		}
		w.raw, w.once = raw, func(fd uintptr) bool {
			w.n, _ = syscall.Write(int(fd), w.p) // an error comes again below
			return true
		}
	}
	w.p, w.n = p, 0
	if err := w.raw.Write(w.once); err != nil {
		return 0, err
	}
	n := max(w.n, 0)
	w.p = nil
	if n == len(p) {
		return n, nil
	}
	stalled := c.stall()
	more, err := c.TCPConn.Write(p[n:])
	if stalled {
		c.resume()
	}
	return n + more, err
}

// stall says that the client does not read what is written to it.
func (c *conn) stall() bool {
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	if c.evicted.Load() || c.batch || c.rank != rankServed {
		return false
	}
	c.limit.move(c, c.waitRank())
	return true
}

// resume takes stall back.
func (c *conn) resume() {
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	if !c.evicted.Load() {
		c.limit.move(c, rankServed)
	}
}
