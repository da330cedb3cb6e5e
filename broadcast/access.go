package broadcast

import (
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

// access returns how the bus proves to NATS what it is, and NATS to it.
func (b *NATS) access() (opts []nats.Option, err error) {
	o := &b.opt
	opts = append(opts, nats.Name(o.ClientName), nats.Timeout(connectTimeout))
	if b.server == nil && o.TLS.CA != "" {
		opts = append(opts, nats.RootCAs(o.TLS.CA))
	}
	if b.server == nil && o.TLS.Cert != "" {
		opts = append(opts, nats.ClientCert(o.TLS.Cert, o.TLS.Key))
	}
	if o.Credentials != "" {
		if _, err := os.Stat(o.Credentials); err != nil { // nats.go would keep trying without the file
			return nil, fmt.Errorf("NATS credentials: %w", err)
		}
		opts = append(opts, nats.UserCredentials(o.Credentials))
	}
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	}
	if o.Token != "" {
		opts = append(opts, nats.Token(o.Token))
	}
	return opts, nil
}
