package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"time"
)

// maxFile bounds a file, in bytes: a bundle of all public CAs has 250 KB.
const maxFile = 1 << 20

// Certificate describes a certificate in force.
type Certificate struct {
	File     string
	Names    []string // DNS names and IP addresses that it is valid for
	NotAfter time.Time
}

// loaded is the content of all files at one time. It does not change.
type loaded struct {
	files     []string // of the certificates
	pairs     []tls.Certificate
	clientCAs *x509.CertPool
}

// load reads all files of a Store.
func load(o *Options) (*loaded, error) {
	l := new(loaded)
	for _, p := range o.Pairs {
		pair, err := loadPair(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		l.files, l.pairs = append(l.files, p.Cert), append(l.pairs, pair)
	}
	if o.ClientCA != "" {
		text, err := readFile(o.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		l.clientCAs = x509.NewCertPool()
		if !l.clientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: %s: no certificate in PEM format in it", o.Name, o.ClientCA)
		}
	}
	return l, nil
}

func loadPair(p Pair) (tls.Certificate, error) {
	cert, err := readFile(p.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile(p.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("%s with the key %s: %w", p.Cert, p.Key, err)
	}
	return pair, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: longer than %d bytes, the most that is read", name, maxFile)
	}
	return text, err
}

// choose returns the certificate for a client.
func (l *loaded) choose(hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(l.pairs) > 1 {
		for i := range l.pairs {
			if hello.SupportsCertificate(&l.pairs[i]) == nil {
				return &l.pairs[i]
			}
		}
	}
	return &l.pairs[0]
}

// worse returns an error if a certificate of next has ended and the one that it
// would replace has not.
func (l *loaded) worse(next *loaded, now time.Time) error {
	for i := range next.pairs {
		if now.After(next.pairs[i].Leaf.NotAfter) && !now.After(l.pairs[i].Leaf.NotAfter) {
			return fmt.Errorf("%s: %w (%v)", next.files[i], errEnded, next.pairs[i].Leaf.NotAfter)
		}
	}
	return nil
}

// certificates describes the certificates, in the order of Options.Pairs.
func (l *loaded) certificates() []Certificate {
	all := make([]Certificate, len(l.pairs))
	for i := range l.pairs {
		leaf := l.pairs[i].Leaf
		all[i] = Certificate{File: l.files[i], NotAfter: leaf.NotAfter, Names: leaf.DNSNames[:len(leaf.DNSNames):len(leaf.DNSNames)]}
		for _, ip := range leaf.IPAddresses {
			all[i].Names = append(all[i].Names, ip.String())
		}
	}
	return all
}

// stamps tell two states of the files apart, in the order of the options.
type stamps []os.FileInfo

// stamps looks at the files. Its entry for a file that cannot be looked at is nil.
func (s *Store) stamps() stamps {
	var all stamps
	look := func(name string) {
		info, err := os.Stat(name) // follows links: Kubernetes replaces a link to a directory
		if err != nil {
			info = nil
		}
		all = append(all, info)
	}
	for _, p := range s.opt.Pairs {
		look(p.Cert)
		look(p.Key)
	}
	if s.opt.ClientCA != "" {
		look(s.opt.ClientCA)
	}
	return all
}

func (s stamps) equal(other stamps) bool {
	for i, a := range s {
		switch b := other[i]; {
		case (a == nil) != (b == nil):
			return false
		case a == nil:
		case !os.SameFile(a, b) || !a.ModTime().Equal(b.ModTime()) || a.Size() != b.Size():
			return false
		}
	}
	return true
}
