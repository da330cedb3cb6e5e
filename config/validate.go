package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Validate returns Errors that name every setting with a value that is not
// allowed, and the allowed values; nil if there is none. It opens no file and
// no socket.
func (c *Config) Validate() error { return c.errors().orNil() }

// checks collects errors by setting.
type checks struct{ found Errors }

func (k *checks) fail(path, format string, args ...any) {
	k.found = append(k.found, &Error{Setting: path, Detail: fmt.Sprintf(format, args...)})
}

// when adds err, if it is not nil, as the error of path.
func (k *checks) when(path string, err error) {
	if err != nil {
		k.fail(path, "%v", err)
	}
}

func (c *Config) errors() Errors {
	k := &checks{}
	for _, s := range c.Settings() {
		k.when(s.Path, s.check())
		if s.Mappings() {
			s.eachItem(func(field Setting) { k.when(field.Path, field.check()) })
		}
	}
	c.checkListen(k)
	c.checkClients(k)
	c.checkTLS(k)
	c.checkAPI(k)
	c.checkAuth(k)
	c.checkGateway(k)
	c.checkNATS(k)
	c.checkCluster(k)
	c.checkControl(k)
	return k.found
}

func (c *Config) checkListen(k *checks) {
	ports := 0
	for _, entry := range c.Listen {
		_, lo, hi, err := ParseListen(entry)
		k.when("listen", err)
		ports += hi - lo + 1
	}
	if len(c.Listen) == 0 {
		k.fail("listen", "empty; at least one address is needed")
	} else if ports > MaxListenPorts {
		k.fail("listen", "%d ports in all; allowed are 1 to %d", ports, MaxListenPorts)
	}
	if c.GOMAXPROCS != 0 && c.Shards != 0 && c.GOMAXPROCS < c.Shards+2 {
		k.fail("gomaxprocs", "%d with %d shards; allowed are 0 or at least shards + 2", c.GOMAXPROCS, c.Shards)
	}
	if c.Node.Name != "" {
		k.when("node.name", checkWord(c.Node.Name))
	}
}

func (c *Config) checkSSE(k *checks) {
	switch p := c.SSE.Path; {
	case p == "":
	case !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?# "):
		k.fail("sse.path", "%q; allowed are paths that begin with / and have no query", p)
	case p == c.Path:
		k.fail("sse.path", "%q is the path of the WebSocket endpoint (path); allowed is any other path", p)
	case c.Dev && p == "/echo" || p == "/healthz" && c.Upgrade.Health:
		k.fail("sse.path", "%q is taken; allowed is any other path", p)
	}
}

func (c *Config) checkClients(k *checks) {
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?# ") {
		k.fail("path", "%q; allowed are paths that begin with / and have no query", c.Path)
	} else if c.Dev && c.Path == "/echo" {
		k.fail("path", "/echo is taken under dev; allowed is any other path")
	}
	if c.Path == "/healthz" && c.Upgrade.Health {
		k.fail("path", "/healthz is taken by upgrade.health; allowed is any other path, or upgrade.health=false")
	}
	c.checkSSE(k)
	c.checkProxy(k)
	c.checkUserClasses(k)
	for _, origin := range c.Upgrade.Origins {
		k.when("upgrade.origins", checkOrigin(origin))
	}
	if c.Backlog.NodeBytes != 0 && c.Backlog.Bytes > c.Backlog.NodeBytes {
		k.fail("backlog.bytes", "%v; allowed is at most backlog.node_bytes (%v)", c.Backlog.Bytes, c.Backlog.NodeBytes)
	}
	if life := c.Session.Lifetime; life > 0 && c.Session.LifetimeSpread > life-time.Second {
		k.fail("session.lifetime_spread", "%v; allowed is at most a second less than session.lifetime (%v)", c.Session.LifetimeSpread, life)
	}
	if in := c.Session.InboundBytes; in != 0 && c.Session.MaxMessage > in/2 {
		k.fail("session.max_message", "%v; allowed is at most half of session.inbound_bytes (%v), else the longest messages would end their sessions with 4007",
			c.Session.MaxMessage, in)
	}
	if c.API.MaxPayload > c.Backlog.Bytes {
		k.fail("api.max_payload", "%v; allowed is at most backlog.bytes (%v), else one message would overrun the backlog",
			c.API.MaxPayload, c.Backlog.Bytes)
	}
}

func (c *Config) checkAPI(k *checks) {
	keyless := len(c.API.Keys) == 0 && c.API.KeysFile == ""
	if err := checkAddress(c.API.Listen); err != nil {
		k.when("api.listen", err)
	} else if keyless && !Loopback(c.API.Listen) {
		k.fail("api.listen", "%s can be reached from other machines; allowed without api.keys or api.keys_file are loopback addresses (127.0.0.1:port)", c.API.Listen)
	}
	if c.API.MonitorListen != "" {
		k.when("api.monitor_listen", checkAddress(c.API.MonitorListen))
	}
	var keys keyList
	for i, text := range c.API.Keys {
		if err := keys.add(text.Reveal()); err != nil {
			k.fail("api.keys", "key %d %v", i+1, err)
		}
	}
	if longest := longestLine(c.API.MaxPayload); c.API.BodyBytes < longest {
		k.fail("api.body_bytes", "%v; allowed is at least %v, what the longest line of a batch with api.max_payload %v may need", c.API.BodyBytes, longest, c.API.MaxPayload)
	}
	for _, host := range c.API.AllowedHosts {
		if host == "" || strings.ContainsAny(host, "/ ") {
			k.fail("api.allowed_hosts", "%q; allowed are host names and addresses, with or without a port", host)
		}
	}
}

// longestLine is the default of package push for a line of a batch, plus a
// margin, in bytes.
func longestLine(payload Size) Size { return 6*payload + 128*KiB }

func (c *Config) checkNATS(k *checks) {
	n := &c.NATS
	external := len(n.URL) > 0
	for _, text := range n.URL {
		k.when("nats.url", checkURL(text, "nats", "tls", "ws", "wss"))
	}
	for _, text := range n.Routes {
		k.when("nats.routes", checkURL(text, "nats", "nats-route", "tls"))
	}
	for _, own := range [][2]string{{"nats.listen", n.Listen}, {"nats.cluster_listen", n.ClusterListen}} {
		switch path, address := own[0], own[1]; {
		case address == "":
		case external:
			k.fail(path, "is of the embedded server, which nats.url replaces; set one of them")
		default:
			k.when(path, checkAddress(address))
		}
	}
	if !external {
		n.checkExposed(k)
	}
	n.checkAdvertise(k)
	switch {
	case len(n.Routes) > 0 && external:
		k.fail("nats.routes", "are of the embedded server, which nats.url replaces; set one of them")
	case len(n.Routes) > 0 && n.ClusterListen == "":
		k.fail("nats.routes", "need nats.cluster_listen, because the other side connects back")
	}
	if room := c.API.MaxPayload + EnvelopeRoom; n.OutboxBytes != 0 && n.OutboxBytes < room {
		k.fail("nats.outbox_bytes", "%v; allowed is at least api.max_payload and 128KiB (%v), else the largest messages would never fit", n.OutboxBytes, room)
	}
	if room := c.API.MaxPayload + EnvelopeRoom; n.PendingBytes != 0 && n.PendingBytes < room {
		k.fail("nats.pending_bytes", "%v; allowed is at least api.max_payload and 128KiB (%v), else the largest messages would be lost", n.PendingBytes, room)
	}
	k.when("nats.cluster_name", checkWord(n.ClusterName))
	if (n.TLS.Cert == "") != (n.TLS.Key == "") {
		k.fail("nats.tls.cert", "nats.tls.cert and nats.tls.key belong together; set both or neither")
	}
	if (n.User == "") != (n.Password == "") {
		k.fail("nats.user", "nats.user and nats.password belong together; set both or neither")
	}
	if (n.ClusterUser == "") != (n.ClusterPass == "") {
		k.fail("nats.cluster_user", "nats.cluster_user and nats.cluster_password belong together; set both or neither")
	}
	if n.ClusterUser != "" && n.ClusterListen == "" {
		k.fail("nats.cluster_user", "is for routes at nats.cluster_listen; set nats.cluster_listen too")
	}
	if n.User != "" && n.Token != "" {
		k.fail("nats.token", "nats.user and nats.token exclude each other; set one of them")
	}
	if n.Creds != "" && !external {
		k.fail("nats.creds", "is for an external NATS; set nats.url too")
	}
}

// EnvelopeRoom is the most bytes that a message takes on the bus besides its
// payload. Package broadcast allows the same.
const EnvelopeRoom = 128 * KiB

// checkWord checks a name that becomes a NATS server or cluster name.
func checkWord(name string) error {
	for _, r := range name {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.", r) {
			return fmt.Errorf("%q; allowed are 1 to 64 of A-Z a-z 0-9 _ - and dots", name)
		}
	}
	if n := len(name); n < 1 || n > 64 {
		return fmt.Errorf("%d characters; allowed are 1 to 64 of A-Z a-z 0-9 _ - and dots", n)
	}
	return nil
}

// checkAddress checks one host:port to listen at. Unlike an entry of listen it
// has one port, and its host may be a name.
func checkAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is not host:port (IPv6 hosts in brackets)", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: ports are 1 to 65535, or 0 for a free one", text)
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, ":/ ") {
		return fmt.Errorf("host %q is neither an address nor a name", host)
	}
	return nil
}

// checkURL checks the URL of a NATS server, or host:port.
func checkURL(text string, schemes ...string) error {
	wanted := strings.Join(schemes, "://, ") + "://"
	address := text
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil {
			return fmt.Errorf("not a URL; allowed are %s and host:port", wanted) // err would repeat text with its password
		}
		known := false
		for _, scheme := range schemes {
			known = known || u.Scheme == scheme
		}
		if !known {
			return fmt.Errorf("scheme %q; allowed are %s and host:port", u.Scheme, wanted)
		}
		if address = u.Host; u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), "4222")
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return fmt.Errorf("no host:port; allowed are %s and host:port", wanted)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %q; allowed are 1 to 65535", port)
	}
	return nil
}
