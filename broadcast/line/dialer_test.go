package line

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// hosts makes a Dialer find these addresses for every name.
func hosts(addresses ...string) func(string) ([]string, error) {
	return func(string) ([]string, error) { return addresses, nil }
}

// A Dialer tries every address of a host, as nats.go does without it.
func TestAllAddresses(t *testing.T) {
	s := startServer(t)
	port := s.Addr().(*net.TCPAddr).Port
	for range 20 { // the order is random
		d := &Dialer{Timeout: time.Second, lookup: hosts("127.0.0.2", "127.0.0.1", "::2")}
		c, err := d.Dial("tcp", fmt.Sprintf("nats.example:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for _, d := range []*Dialer{{Timeout: time.Second}, {Timeout: time.Second, lookup: hosts()}} {
		c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	d := &Dialer{Timeout: time.Second, lookup: hosts("127.0.0.2", "127.0.0.3")}
	if c, err := d.Dial("tcp", fmt.Sprintf("nats.example:%d", port)); err == nil {
		c.Close()
		t.Error("connected to an address of another host")
	}
}
