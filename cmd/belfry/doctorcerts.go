package main

import (
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"belfry/certs"
	"belfry/config"
	"belfry/host"
)

// certFindings reads the certificates that the settings name, and warns of those
// that cannot be used or end soon. They do not limit the number of connections.
func certFindings(c *config.Config, now time.Time) (all []host.Finding) {
	var sections []certs.Options
	if c.TLS.On() {
		sections = append(sections, clientCerts(c, zap.NewNop()))
	}
	if c.API.TLS.Cert != "" {
		sections = append(sections, apiCerts(c, zap.NewNop()))
	}
	for _, o := range sections {
		store, err := certs.Open(o)
		if err != nil {
			all = append(all, host.Finding{Name: "certificates of " + o.Name, Value: "not usable", Status: host.Warn, Why: err.Error(), Fix: "belfry serve   # does not start before this is mended"})
			continue
		}
		for _, cert := range store.Stats().Certificates {
			all = append(all, certFinding(cert, now))
		}
	}
	return all
}

func certFinding(cert certs.Certificate, now time.Time) host.Finding {
	f := host.Finding{
		Name:  "certificate " + cert.File,
		Value: fmt.Sprintf("for %s, ends %s", strings.Join(cert.Names, ", "), cert.NotAfter.UTC().Format(time.DateOnly)),
		Why:   "after that clients refuse to connect",
	}
	if left := cert.NotAfter.Sub(now); left < certs.SoonEnds {
		f.Status = host.Warn
		f.Fix = "openssl x509 -noout -dates -in " + cert.File + "   # renew it; belfry reads the new file without a restart"
	}
	return f
}
