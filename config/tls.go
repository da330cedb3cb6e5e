package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ClientTLS is the section tls.
type ClientTLS struct {
	Cert             string        `yaml:"cert" zero:"no TLS for clients" doc:"File with the certificate for clients, in PEM, with its chain. It turns TLS on (wss, https) at the addresses of tls.listen. A changed file is read again within seconds; nobody is disconnected."`
	Key              string        `yaml:"key" zero:"none" doc:"File with the key of tls.cert, in PEM."`
	Certificates     []string      `yaml:"certificates" zero:"none" doc:"Further certificates, each CERT_FILE:KEY_FILE. A client gets the first one that fits the server name it asks for, or else tls.cert."`
	Listen           []string      `yaml:"listen" zero:"all of listen" doc:"Entries of listen that speak TLS, each written as it is there."`
	MinVersion       string        `yaml:"min_version" default:"1.2" enum:"1.2|1.3" doc:"Oldest version of TLS for clients."`
	MaxConnections   int           `yaml:"max_connections" range:"1..16777216" zero:"max_connections, or what a quarter of memory can hold" doc:"TLS connections of clients; further ones get 503 after their handshake. Each takes three open files and some 24 KiB of memory. For more, let a proxy in front do TLS."`
	MaxHandshakes    int           `yaml:"max_handshakes" default:"2048" range:"1..1048576" doc:"TLS connections of clients whose handshake or first request has not arrived; one address (IPv6: its /64) may have half of them. Further ones are closed at once."`
	HandshakeTimeout time.Duration `yaml:"handshake_timeout" default:"10s" range:"1s..5m" doc:"Time from accept to the first bytes of a request inside TLS; then the connection is closed. From there on upgrade.timeout applies."`
}

// APITLS is the section api.tls.
type APITLS struct {
	Cert       string `yaml:"cert" zero:"no TLS" doc:"File with the certificate of the API, in PEM, with its chain. It turns HTTPS on at api.listen (HTTP/1.1). api.monitor_listen stays HTTP. A changed file is read again within seconds."`
	Key        string `yaml:"key" zero:"none" doc:"File with the key of api.tls.cert, in PEM."`
	ClientCA   string `yaml:"client_ca" zero:"no client certificates" doc:"File with CA certificates, in PEM. With it every client of api.listen must show a certificate that one of them has signed (mutual TLS), besides its key of api.keys."`
	MinVersion string `yaml:"min_version" default:"1.2" enum:"1.2|1.3" doc:"Oldest version of TLS for clients of the API."`
}

// On says whether clients may speak TLS.
func (t *ClientTLS) On() bool { return t.Cert != "" }

// TLSListen returns the entries of listen that speak TLS.
func (c *Config) TLSListen() []string {
	switch {
	case !c.TLS.On():
		return nil
	case len(c.TLS.Listen) == 0:
		return c.Listen
	}
	return c.TLS.Listen
}

// ParsePair reads an entry of tls.certificates.
func ParsePair(text string) (cert, key string, err error) {
	cert, key, ok := strings.Cut(text, ":")
	if !ok || cert == "" || key == "" {
		return "", "", fmt.Errorf("%q is not CERT_FILE:KEY_FILE", text)
	}
	return cert, key, nil
}

func (c *Config) checkTLS(k *checks) {
	t := &c.TLS
	if (t.Cert == "") != (t.Key == "") {
		k.fail("tls.cert", "tls.cert and tls.key belong together; set both or neither")
	}
	for _, text := range t.Certificates {
		_, _, err := ParsePair(text)
		k.when("tls.certificates", err)
	}
	for _, entry := range t.Listen {
		if !slices.Contains(c.Listen, entry) {
			k.fail("tls.listen", "%q is not an entry of listen (%s); write it as it is written there", entry, strings.Join(c.Listen, ", "))
		}
	}
	for path, set := range map[string]bool{"tls.certificates": len(t.Certificates) > 0, "tls.listen": len(t.Listen) > 0} {
		if set && !t.On() {
			k.fail(path, "needs tls.cert and tls.key; set them too")
		}
	}
	if t.MaxConnections != 0 && c.MaxConnections != 0 && t.MaxConnections > c.MaxConnections {
		k.fail("tls.max_connections", "%d; allowed is at most max_connections (%d)", t.MaxConnections, c.MaxConnections)
	}
	a := &c.API.TLS
	if (a.Cert == "") != (a.Key == "") {
		k.fail("api.tls.cert", "api.tls.cert and api.tls.key belong together; set both or neither")
	}
	if a.ClientCA != "" && a.Cert == "" {
		k.fail("api.tls.client_ca", "needs api.tls.cert and api.tls.key; set them too")
	}
}
