package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

// tlsFlags are the flags of commands that connect to a node over TLS.
type tlsFlags struct{ ca, cert, key string }

func (f *tlsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.ca, "ca", "", "file with the CA certificates that must have signed the server's certificate (default: those of the system)")
}

func (f *tlsFlags) addCert(flags *pflag.FlagSet) {
	flags.StringVar(&f.cert, "cert", "", "file with a client certificate, for api.tls.client_ca")
	flags.StringVar(&f.key, "cert-key", "", "file with the key of --cert")
}

// withCA adds the way out to the error of a connection, if the server's certificate
// was signed by an unknown authority.
func withCA(err error) error {
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return fmt.Errorf("%w; give the file with its CA, or with the certificate itself, as --ca", err)
	}
	return err
}

// config returns what the flags say; nil means the defaults.
func (f *tlsFlags) config() (*tls.Config, error) {
	if *f == (tlsFlags{}) {
		return nil, nil
	}
	c := new(tls.Config)
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca: %s: no certificate in PEM format in it", f.ca)
		}
	}
	if (f.cert == "") != (f.key == "") {
		return nil, errors.New("--cert and --cert-key belong together; give both or neither")
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("--cert: %s with the key %s: %w", f.cert, f.key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
