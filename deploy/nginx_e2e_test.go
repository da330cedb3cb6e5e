//go:build e2e

package deploy

import (
	"net/http"
	"testing"
)

// The configuration to copy: pages of the site may connect, at whatever port.
// Others get a text with what was compared and what to change.
func TestE2ENginx(t *testing.T) {
	n := startNode(t)
	p := startNginx(t, n, "nginx/belfry.conf")
	exchange(t, p, n, visit{url: "wss://" + site, origin: "https://" + site}, "default-port")
	exchange(t, p, n, visit{url: "wss://" + site + ":8443", origin: "https://" + site + ":8443"}, "own-port")
	exchange(t, p, n, visit{url: "wss://" + site}, "no-browser")
	p.refused(t, visit{url: "wss://" + site + "/ws", origin: "https://evil.example.com"}, http.StatusForbidden,
		"https://evil.example.com", "upgrade.origins")
	p.refused(t, visit{url: "wss://" + site + ":8443/ws", origin: "https://" + site}, http.StatusForbidden, site)
}

// With $host the port is lost. This works at the scheme's default port; at
// another the text names both sides and $http_host.
func TestE2ENginxHost(t *testing.T) {
	n := startNode(t)
	p := startNginx(t, n, "nginx/belfry-host.conf")
	exchange(t, p, n, visit{url: "wss://" + site, origin: "https://" + site}, "default-port")
	p.refused(t, visit{url: "wss://" + site + ":8443/ws", origin: "https://" + site + ":8443"}, http.StatusForbidden,
		"Origin https://"+site+":8443", "Host "+site, "upgrade.origins", "proxy_set_header Host $http_host")
}

// The other solution that the text names.
func TestE2ENginxHostListed(t *testing.T) {
	n := startNode(t, "upgrade.origins=https://"+site+":8443")
	p := startNginx(t, n, "nginx/belfry-host.conf")
	exchange(t, p, n, visit{url: "wss://" + site + ":8443", origin: "https://" + site + ":8443"}, "listed")
}

// Typical mistakes: without the version, or without the headers of the upgrade,
// belfry gets an ordinary GET. The text says what is missing.
func TestE2ENginxMistakes(t *testing.T) {
	const version, upgrade, connection = "proxy_http_version 1.1;", "proxy_set_header Upgrade $http_upgrade;", `proxy_set_header Connection "upgrade";`
	for _, c := range []struct {
		name    string
		without []string
		status  int
		words   []string
	}{
		{"nothing", []string{version, upgrade, connection}, http.StatusHTTPVersionNotSupported, []string{"1.1"}},
		{"no version", []string{version}, http.StatusHTTPVersionNotSupported, []string{"1.1"}},
		{"no upgrade", []string{upgrade, connection}, http.StatusUpgradeRequired, []string{"Upgrade"}},
		{"only the connection", []string{upgrade}, http.StatusUpgradeRequired, []string{"Upgrade"}},
		{"only the upgrade", []string{connection}, http.StatusBadRequest, []string{"Connection"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := startNode(t)
			var pairs []string
			for _, line := range c.without {
				pairs = append(pairs, line, "")
			}
			p := startNginx(t, n, "nginx/belfry.conf", pairs...)
			p.refused(t, visit{url: "wss://" + site + "/ws", origin: "https://" + site}, c.status, c.words...)
		})
	}
}
