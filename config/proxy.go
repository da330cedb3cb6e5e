package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func (c *Config) checkProxy(k *checks) {
	for _, entry := range c.Proxy.Protocol {
		if !slices.Contains(c.Listen, entry) {
			k.fail("proxy.protocol", "%q is not an entry of listen (%s); write it as it is written there", entry, strings.Join(c.Listen, ", "))
		}
	}
	for _, text := range c.Proxy.Trusted {
		_, err := ParseNetwork(text)
		k.when("proxy.trusted", err)
	}
}

// ParseNetwork reads an entry of proxy.trusted: a network with its length in
// bits, or one address.
func ParseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q; allowed are networks (10.0.0.0/8, 2001:db8::/32) and addresses (192.0.2.1, ::1)", text)
		}
		network = netip.PrefixFrom(addr, addr.BitLen())
	}
	switch {
	case network.Addr().Is4In6():
		return network, fmt.Errorf("%q; write an IPv4 network in IPv4 notation: %v", text, network.Addr().Unmap())
	case network.Bits() == 0:
		return network, fmt.Errorf("%q would let every client claim any address; list the networks of the proxies", text)
	}
	return network.Masked(), nil
}
