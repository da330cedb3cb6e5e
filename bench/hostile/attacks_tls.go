package hostile

import (
	"crypto/tls"
	"net"
)

// tlsAttacks are on the handshakes of clients with TLS.
func tlsAttacks() []Attack {
	settings := []string{"tls.cert={dir}/" + certFile, "tls.key={dir}/" + keyFile}
	half := func(name, what string, head func() []byte) Attack {
		return Attack{Name: name, What: what, Counts: []int{1}, Settings: settings, Memory: true, Plan: func(int, Aim) Plan {
			first := head()
			return Plan{Count: 1 << 30, Rate: 2000, Hold: 15_000, TLS: true, Head: func(int) []byte { return first }, Reads: true}
		}}
	}
	return []Attack{
		half("tls-half-hellos", "TLS connections with half a ClientHello, 2,000 a second", func() []byte { hello := clientHello(); return hello[:len(hello)/2] }),
		half("tls-half-handshakes", "TLS connections that never answer the ServerHello, 2,000 a second", clientHello),
		{
			Name: "tls-storm", What: "TLS handshakes that are reset after the ServerHello and begin anew", Counts: usual[:], Settings: settings,
			Plan: func(count int, _ Aim) Plan {
				hello := clientHello() // the same for all: it costs the attacker nothing
				return Plan{Count: count, TLS: true, Head: func(int) []byte { return hello }, Bytes: true, Renew: true, Reads: true}
			},
		},
	}
}

// clientHello is the first record of a TLS handshake.
func clientHello() []byte {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "localhost"}).Handshake() // fails when the pipe is closed
	}()
	p := make([]byte, 16<<10)
	n, err := server.Read(p)
	if err != nil {
		panic(err) // of a pipe whose other side is open
	}
	return p[:n]
}
