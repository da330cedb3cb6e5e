package push

import (
	"fmt"
	"net"
	"strconv"

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
