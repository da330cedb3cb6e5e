package push

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// How much is read of a body after the answer, in bytes: as much as net/http
// does. And for how long a connection is read on.
const (
	maxRest  = 256 << 10
	restTime = time.Second
)

// lastChunk ends an answer in chunks.
const lastChunk = "0\r\n\r\n"

// discardRest answers, and then reads what is left of the body of a request that
// was answered before it had come. Closing a connection with bytes unread
// resets it, and the client may never see the answer (RFC 9112 §9.6). net/http
// reads on by itself where a connection stays open, but before it answers, and
// for as long as the body has. Meanwhile the connection gives way to others.
func (s *Server) discardRest(w http.ResponseWriter, r *http.Request, c *conn, status int) {
	if r.Body == http.NoBody && r.ContentLength != 0 {
		return // abandoned
	}
	// A body without a length may follow; it would be taken for a request.
	unknown := r.Method == http.MethodPost && r.ContentLength == 0 && len(r.Header["Content-Length"]) == 0
	if !unknown && (r.ContentLength == 0 || c.whole()) {
		return // net/http takes it from its buffer
	}
	if unknown || r.ContentLength > maxRest {
		// This reader has net/http say that the connection closes.
		_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("?")), 0).Read(make([]byte, 1))
	}
	rc := http.NewResponseController(w)
	until := time.Now().Add(restTime)
	_ = rc.EnableFullDuplex() // all of these fail in tests that record
	_ = rc.SetReadDeadline(until)
	_ = rc.SetWriteDeadline(time.Now().Add(s.opt.WriteTimeout))
	err := rc.Flush()
	if !unknown && c.answered() {
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(nil, r.Body, maxRest)); err == nil {
			return
		}
	}
	end := ""
	if len(w.Header()["Content-Length"]) == 0 && r.ProtoAtLeast(1, 1) && r.Method != http.MethodHead && status != http.StatusNotModified {
		end = lastChunk
	}
	s.abandon(rc, r, c, cutOff{answered: err == nil, end: end, until: until, most: maxRest})
}

// cutOff says how a request ends that was not read to its end.
type cutOff struct {
	answered bool      // and the connection works
	end      string    // of the answer, not yet written
	until    time.Time // when reading on ends
	most     int64     // what is read, in bytes
}

// abandon ends an answer, and reads on for a while (see takeIn). The connection
// is done with: net/http, in full duplex, would take the rest of the body for
// the next request if reading it had timed out.
func (s *Server) abandon(rc *http.ResponseController, r *http.Request, c *conn, cut cutOff) {
	s.count.bodiesCut.Add(1)
	s.abandoned.Add(1) // before Hijack hides the connection from Shutdown
	defer s.abandoned.Done()
	taken, _, err := rc.Hijack()
	if err != nil {
		return // HTTP/2 ends the stream; recorders have no connection
	}
	defer taken.Close()
	r.Body = http.NoBody // of no use after Hijack
	_ = taken.SetDeadline(cut.until)
	if !cut.answered {
		return
	}
	if cut.end != "" {
		if _, err := io.WriteString(taken, cut.end); err != nil {
			return
		}
	}
	if !c.answered() {
		return
	}
	if half, ok := taken.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(taken, cut.most))
	}
}
