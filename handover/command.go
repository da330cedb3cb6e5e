package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// Request is what belfry restart asks for.
type Request struct {
	Binary string `json:"binary,omitempty"` // "": the file that the process was started from
}

// Ask asks the process at a control socket to restart. tell is called with its progress.
func Ask(socket string, q Request, tell func(Progress)) (Result, error) {
	var r Result
	sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return r, fmt.Errorf("%s: %w: is the node running, and is this its control.socket?", socket, err)
	}
	c := newConn(sock)
	defer c.close()
	if err := c.write(kindRestart, mustJSON(&q)); err != nil {
		return r, fmt.Errorf("%s: %w", socket, err)
	}
	for {
		f, err := c.read()
		if errors.Is(err, io.EOF) {
			return r, fmt.Errorf("%s: the process ended before it said what became of the restart: its log says why", socket)
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", socket, err)
		}
		CloseAll(f.fds)
		switch f.kind {
		case kindProgress:
			var p Progress
			if json.Unmarshal(f.payload, &p) == nil {
				tell(p)
			}
		case kindDone:
			return r, json.Unmarshal(f.payload, &r)
		}
	}
}
