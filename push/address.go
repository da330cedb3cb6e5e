package push

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"belfry/ws"
)

// CheckAddress returns an error unless the API may listen at addr, a host:port.
// keys is the number of API keys. Without keys only loopback addresses are
// allowed, because everybody who reaches the API can push to every client.
func CheckAddress(addr string, keys int) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("api address %q: not host:port: %w", addr, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return fmt.Errorf("api address %q: port %q; allowed are 0 to 65535", addr, port)
	}
	if keys == 0 && !ws.IsLoopback(host) {
		return fmt.Errorf("api address %q is not a loopback address and there is no API key: set a key, or listen on 127.0.0.1, [::1] or localhost", addr)
	}
	return nil
}

// splitHost splits a Host header or the authority of an origin. Without a port it
// returns port "". Unlike net.SplitHostPort it does not allocate an error then.
func splitHost(hostport string) (host, port string) {
	host = hostport
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && strings.IndexByte(hostport[i:], ']') < 0 &&
		(hostport[0] == '[' || strings.IndexByte(hostport, ':') == i) {
		host, port = hostport[:i], hostport[i+1:]
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return host, port
}
