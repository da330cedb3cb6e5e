package push

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// Limits for reading the rest of a body after the answer.
const (
	maxRest  = 256 << 10 // bytes, as many as net/http reads
	restTime = time.Second
)

// lastChunk ends an answer in chunks.
const lastChunk = "0\r\n\r\n"

// discardRest sends the answer to a request whose body has not arrived completely,
// and then reads the rest of the body. If the connection were closed with unread
// bytes, the kernel would reset it, and the client might never see the answer
// (RFC 9112 §9.6). net/http also reads the rest if the connection stays open, but
// before it sends the answer, and as long as ReadTimeout allows. While discardRest
// reads, the connection can be evicted.
func (s *Server) discardRest(w http.ResponseWriter, r *http.Request, c *conn, status int) {
	if r.Body == http.NoBody && r.ContentLength != 0 {
		return // abandon has done it
	}
	// A body without a length may follow. It would be taken for a request.
	unknown := r.Method == http.MethodPost && r.ContentLength == 0 && len(r.Header["Content-Length"]) == 0
	if !unknown && (r.ContentLength == 0 || c.whole()) {
		return // there is no rest, or it is in the buffer of net/http
	}
	if unknown || r.ContentLength > maxRest {
		// An error of this reader makes net/http send Connection: close.
		_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("?")), 0).Read(make([]byte, 1))
	}
	rc := http.NewResponseController(w)
	until := time.Now().Add(restTime)
	_ = rc.EnableFullDuplex() // these calls fail only with the recorders of tests
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

// cutOff says how to end a request that was not read to its end.
type cutOff struct {
	answered bool      // the answer was written without an error
	end      string    // end of the answer that is still to be written, "" for none
	until    time.Time // when to stop reading
	most     int64     // bytes to read at most
}

// abandon writes the end of an answer, reads on for a while (see discardRest) and
// closes the connection. The connection cannot be used again: in full duplex mode,
// net/http would take the rest of the body for the next request if reading the body
// had timed out.
func (s *Server) abandon(rc *http.ResponseController, r *http.Request, c *conn, cut cutOff) {
	s.count.bodiesCut.Add(1)
	s.abandoned.Add(1) // before Hijack hides the connection from Shutdown
	defer s.abandoned.Done()
	taken, _, err := rc.Hijack()
	if err != nil {
		return // HTTP/2 ends the stream; recorders have no connection
	}
	defer taken.Close()
	r.Body = http.NoBody // it must not be read after Hijack
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
