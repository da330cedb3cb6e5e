package push

import "syscall"

// slowWriter writes to a connection and notices when the client does not read: then
// the kernel does not accept all bytes at once. While the rest waits, the
// connection can be evicted. Connections with batches are an exception, because
// their clients may send everything before they read. Batches have their own limit
// (api.max_bodies).
type slowWriter struct {
	raw  syscall.RawConn
	once func(fd uintptr) bool // calls write(2) once and returns true
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
			w.n, _ = syscall.Write(int(fd), w.p) // after an error the write below fails too
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

// stall makes the connection evictable, because its client does not read. It
// returns false if it did nothing.
func (c *conn) stall() bool {
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	if c.evicted.Load() || c.batch || c.rank != rankServed {
		return false
	}
	c.limit.move(c, c.waitRank())
	return true
}

// resume ends what stall began.
func (c *conn) resume() {
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	if !c.evicted.Load() {
		c.limit.move(c, rankServed)
	}
}
