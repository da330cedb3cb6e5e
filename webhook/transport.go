package webhook

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// transports are the pools of connections of a backend.
type transports struct {
	http *http.Transport // HTTP/1.1, and HTTP/2 where a TLS server chooses it (ALPN)
	h2c  *http.Transport // HTTP/2 without TLS, known beforehand (RFC 9113 §3.3)
}

// idleTime is how long a connection without a call stays open. Node.js and uvicorn
// close one after 5 s, and a call that is sent just then is lost.
const idleTime = 4 * time.Second

// maxHeader limits the header of an answer, in bytes.
const maxHeader = 64 << 10

func newTransports(opt *Options) transports {
	t := transports{http: newTransport(opt), h2c: newTransport(opt)}
	t.http.Protocols.SetHTTP1(true)
	t.http.Protocols.SetHTTP2(true)
	t.h2c.Protocols.SetUnencryptedHTTP2(true)
	return t
}

func newTransport(opt *Options) *http.Transport {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if opt.TLS != nil {
		config = opt.TLS.Clone()
	}
	return &http.Transport{
		// A connection that nobody waits for any more ends with its time-out, so
		// that a host which drops packets costs a bounded number of them.
		DialContext:            (&net.Dialer{Timeout: opt.Timeout}).DialContext,
		TLSHandshakeTimeout:    opt.Timeout,
		TLSClientConfig:        config,
		MaxIdleConns:           opt.InFlight,
		MaxIdleConnsPerHost:    opt.InFlight, // Options.InFlight bounds the others too
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // the length of an answer is what is on the wire
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: opt.Timeout},
	}
}
