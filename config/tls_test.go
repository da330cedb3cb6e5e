package config

import (
	"slices"
	"strings"
	"testing"
)

func TestTLSSettings(t *testing.T) {
	for _, tc := range []struct {
		set  func(*Config)
		fail string // "": allowed
	}{
		{func(c *Config) { c.TLS.Cert, c.TLS.Key = "c", "k" }, ""},
		{func(c *Config) { c.TLS.Cert = "c" }, "tls.cert: tls.cert and tls.key belong together"},
		{func(c *Config) { c.TLS.Cert, c.TLS.Key, c.TLS.Certificates = "c", "k", []string{"a:b", "c"} }, `tls.certificates: "c" is not CERT_FILE:KEY_FILE`},
		{func(c *Config) { c.TLS.Certificates = []string{"a:b"} }, "tls.certificates: needs tls.cert"},
		{func(c *Config) { c.TLS.Listen = []string{":8080"} }, "tls.listen: needs tls.cert"},
		{func(c *Config) { c.TLS.Cert, c.TLS.Key, c.TLS.Listen = "c", "k", []string{":8443"} }, `tls.listen: ":8443" is not an entry of listen (:8080)`},
		{func(c *Config) { c.TLS.Cert, c.TLS.Key, c.TLS.MinVersion = "c", "k", "1.1" }, `tls.min_version: "1.1"; allowed are 1.2 or 1.3`},
		{func(c *Config) { c.TLS.Cert, c.TLS.Key, c.TLS.MaxConnections, c.MaxConnections = "c", "k", 11, 10 }, "tls.max_connections: 11; allowed is at most max_connections (10)"},
		{func(c *Config) { c.API.TLS.Key = "k" }, "api.tls.cert: api.tls.cert and api.tls.key belong together"},
		{func(c *Config) { c.API.TLS.ClientCA = "ca" }, "api.tls.client_ca: needs api.tls.cert"},
		{func(c *Config) { c.API.TLS.Cert, c.API.TLS.Key, c.API.TLS.ClientCA = "c", "k", "ca" }, ""},
	} {
		c := Default()
		tc.set(&c)
		err := c.Validate()
		if tc.fail == "" && err != nil || tc.fail != "" && (err == nil || !strings.Contains(err.Error(), tc.fail)) {
			t.Errorf("%+v: %v; want %q", c.TLS, err, tc.fail)
		}
	}
}

func TestTLSEntries(t *testing.T) {
	c := Default()
	c.Listen = []string{":1", ":2"}
	if got := c.TLSListen(); len(got) != 0 {
		t.Errorf("without a certificate: %q", got)
	}
	c.TLS.Cert = "c"
	if got := c.TLSListen(); !slices.Equal(got, c.Listen) {
		t.Errorf("%q", got)
	}
	c.TLS.Listen = []string{":2"}
	if got := c.TLSListen(); !slices.Equal(got, c.TLS.Listen) {
		t.Errorf("%q", got)
	}
}
