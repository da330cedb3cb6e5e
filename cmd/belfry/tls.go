package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"belfry/bridge"
	"belfry/certs"
	"belfry/config"
	"belfry/host"
	"belfry/metrics"
)

// tlsVersion converts tls.min_version and api.tls.min_version.
func tlsVersion(text string) uint16 {
	if text == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// clientCerts returns the options for the certificates of the section tls.
func clientCerts(c *config.Config, log *zap.Logger) certs.Options {
	o := certs.Options{Name: "tls", Pairs: []certs.Pair{{Cert: c.TLS.Cert, Key: c.TLS.Key}}, MinVersion: tlsVersion(c.TLS.MinVersion), Log: log.Named("tls")}
	for _, text := range c.TLS.Certificates {
		// The configuration was validated: this cannot fail.
		cert, key, _ := config.ParsePair(text)
		o.Pairs = append(o.Pairs, certs.Pair{Cert: cert, Key: key})
	}
	return o
}

// apiCerts returns the options for the certificates of the section api.tls.
func apiCerts(c *config.Config, log *zap.Logger) certs.Options {
	t := &c.API.TLS
	return certs.Options{Name: "api.tls", Pairs: []certs.Pair{{Cert: t.Cert, Key: t.Key}}, ClientCA: t.ClientCA, MinVersion: tlsVersion(t.MinVersion), Log: log.Named("api")}
}

// bridgeOptions returns the options of the TLS listeners for clients, without the
// sessions and the certificates.
func bridgeOptions(c *config.Config, log *zap.Logger) bridge.Options {
	o := bridge.Options{
		Trusted:        proxyOptions(c).Trusted,
		MaxConnections: c.TLS.MaxConnections,
		MaxHandshakes:  c.TLS.MaxHandshakes,
		HandshakeTime:  c.TLS.HandshakeTimeout,
		RetryAfter:     c.Upgrade.RetryAfter,
		Workers:        otherProcessors(c),
		Log:            log.Named("tls"),
	}
	for _, text := range c.TLSListen() {
		// The configuration was validated: this cannot fail.
		host, lo, hi, _ := config.ParseListen(text)
		o.Listen = append(o.Listen, bridge.Listen{Host: host, Lo: uint16(lo), Hi: uint16(hi), Proxy: slices.Contains(c.Proxy.Protocol, text)})
	}
	return o
}

// tlsMemoryShare is the share of memory, one in so many, for TLS connections of
// clients if tls.max_connections is 0.
const tlsMemoryShare = 4

// resolveTLS gives tls.max_connections and max_connections their values on this
// machine. room is how many descriptors there are for connections of clients.
func (m machine) resolveTLS(c *config.Config, room int, lower func(setting string, v *int, most int, why, fix string)) {
	lower("tls.max_handshakes", &c.TLS.MaxHandshakes, max(1, m.descriptors/pendingShare),
		fmt.Sprintf("TLS handshakes are limited to 1/%d of the %d open files this process may have", pendingShare, m.descriptors), fixDescriptors)
	room = max(1, room-c.TLS.MaxHandshakes)
	most := max(1, room/host.TLSDescriptors)
	lower("tls.max_connections", &c.TLS.MaxConnections, most,
		fmt.Sprintf("a TLS connection takes %d of the %d open files this process may have", host.TLSDescriptors, m.descriptors), fixDescriptors)
	if c.TLS.MaxConnections == 0 {
		c.TLS.MaxConnections = most
		if memory := m.facts.Memory(); memory > 0 {
			c.TLS.MaxConnections = int(min(int64(most), max(1, memory/tlsMemoryShare/host.TLSBytes)))
		}
		if c.MaxConnections > 0 {
			c.TLS.MaxConnections = min(c.TLS.MaxConnections, c.MaxConnections)
		}
	}
	switch {
	case c.MaxConnections > 0:
	case len(c.TLSListen()) == len(c.Listen):
		c.MaxConnections = c.TLS.MaxConnections
	default:
		c.MaxConnections = max(1, room-(host.TLSDescriptors-1)*c.TLS.MaxConnections)
	}
}

// openCerts reads the certificates of the API and of clients.
func (n *belfry) openCerts() (err error) {
	if n.cfg.API.TLS.Cert != "" {
		if n.apiCerts, err = certs.Open(apiCerts(n.cfg, n.log)); err != nil {
			return err
		}
	}
	if n.cfg.TLS.On() {
		n.clientCerts, err = certs.Open(clientCerts(n.cfg, n.log))
	}
	return err
}

// openBridge makes the TLS listeners for clients.
func (n *belfry) openBridge() (err error) {
	if n.clientCerts == nil {
		return nil
	}
	o := bridgeOptions(n.cfg, n.log)
	o.Sessions, o.TLS = n.sessions, n.clientCerts.Config()
	if n.restart.in != nil {
		o.Inherit = n.restart.in.tls
	}
	n.bridge, err = bridge.New(o)
	return err
}

// watchCerts has changed certificates read again until ctx is done.
func (n *belfry) watchCerts(ctx context.Context) {
	for _, s := range []*certs.Store{n.clientCerts, n.apiCerts} {
		if s != nil {
			go s.Run(ctx)
		}
	}
}

// closeBridge ends the TLS connections of clients. The shards have closed theirs.
func (n *belfry) closeBridge(ctx context.Context) {
	if n.bridge == nil {
		return
	}
	if cut := n.bridge.Close(ctx); cut > 0 {
		n.log.Warn("TLS connections were cut off", zap.Int("connections", cut))
	}
}

// tlsAddrs returns the addresses where clients speak TLS.
func (n *belfry) tlsAddrs() []netip.AddrPort {
	if n.bridge == nil {
		return nil
	}
	return n.bridge.Addrs()
}

// apiScheme is the scheme of the API's address.
func (n *belfry) apiScheme() string {
	if n.apiCerts != nil {
		return "https"
	}
	return "http"
}

// tlsValues returns the metrics of TLS, and adds to the limits that were hit.
func (n *belfry) tlsValues(limits map[string]uint64) metrics.TLS {
	v := metrics.TLS{NotAfter: map[string]uint64{}, Reloads: map[string]uint64{"ok": 0, "failed": 0}}
	for _, s := range []*certs.Store{n.clientCerts, n.apiCerts} {
		if s == nil {
			continue
		}
		st := s.Stats()
		v.Reloads["ok"] += st.Reloads
		v.Reloads["failed"] += st.Failures
		for _, c := range st.Certificates {
			v.NotAfter[c.File] = uint64(max(c.NotAfter.Unix(), 0))
		}
	}
	var st bridge.Stats
	if n.bridge != nil {
		st = n.bridge.Stats()
	}
	v.Connections, v.Handshaking = uint64(st.Connections), uint64(st.Handshaking)
	v.Handshakes, v.Resumed, v.Refused = st.Handshakes, st.Resumed, st.Refused
	limits["tls.max_handshakes"] = st.Refused[bridge.CauseMaxHandshakes.String()]
	limits["tls.max_connections"] = st.Refused[bridge.CauseMaxConns.String()]
	limits["tls.handshake_timeout"] = st.Refused[bridge.CauseTimeout.String()]
	return v
}

// otherProcessors is how many goroutines may compute so that a processor of Go is
// left for each shard.
func otherProcessors(c *config.Config) int { return max(1, c.GOMAXPROCS-c.Shards) }
