package websocket

import (
	"belfry/wire"
	"belfry/ws"
)

// Deflate is WebSocket with permessage-deflate.
type Deflate struct{ Transport }

var _ wire.Transport = (*Deflate)(nil)

func (d *Deflate) accepts(r *ws.Request) bool { return false }
