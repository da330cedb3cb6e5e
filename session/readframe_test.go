package session

import (
	"fmt"
	"io"

	gobwas "github.com/gobwas/ws"
)

// readFrame reads a frame of the server, which sends none above 64 MiB.
func readFrame(r io.Reader) (f gobwas.Frame, err error) {
	if f.Header, err = gobwas.ReadHeader(r); err != nil {
		return f, err
	}
	if f.Header.Length > 64<<20 {
		return f, fmt.Errorf("frame of %d bytes", f.Header.Length)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
