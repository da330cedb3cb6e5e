package main

import (
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/sse"
	"belfry/wire/v1"
	"belfry/wire/websocket"
	"belfry/ws"
)

// endpoints returns the protocols that clients may speak, with their paths. A
// new protocol is registered here.
func (n *belfry) endpoints() ([]wire.Endpoint, error) {
	c := n.cfg
	o := websocket.Options{Paths: []string{c.Path}, Encodings: []websocket.Encoding{
		{Encoding: plain.Encoding{}, Also: plain.Name},
		{Encoding: v1.Encoding{}, Subprotocol: v1.Name},
	}}
	if c.Deflate.Enabled {
		var err error
		o.Deflate, err = websocket.NewDeflate(ws.DeflateOptions{Level: c.Deflate.Level, MinSize: int(c.Deflate.MinBytes)})
		if err != nil {
			return nil, err
		}
		n.deflate = o.Deflate
	}
	endpoints := []wire.Endpoint{websocket.New(o)}
	if c.SSE.Path != "" {
		endpoints = append(endpoints, sse.New(sse.Options{
			Paths:     []string{c.SSE.Path},
			Encodings: []wire.Encoding{plain.Encoding{}, v1.Encoding{}},
			Transport: sse.Transport{Retry: c.SSE.Retry},
		}))
	}
	return endpoints, nil
}
