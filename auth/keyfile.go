package auth

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxKeyFile is the largest file of keys in bytes. It is the same for a JWKS from a
// URL.
const maxKeyFile = 1 << 20

// readFile returns what a file of keys holds.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unpathed(err)
	}
	defer f.Close()
	return readAll(f)
}

// readAll reads at most maxKeyFile bytes.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, unpathed(err)
	case len(data) > maxKeyFile:
		return nil, fmt.Errorf("longer than %d bytes", maxKeyFile)
	}
	return data, nil
}

// unpathed returns err without the name of the file, which the caller adds.
func unpathed(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// readPEM returns the public keys in a file of PEM blocks: PKIX, PKCS #1, and
// certificates, whose dates and signatures do not matter here.
func readPEM(data []byte) (keys []any, err error) {
	for n := 1; ; n++ {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		var value any
		switch block.Type {
		case "PUBLIC KEY":
			value, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			value, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var cert *x509.Certificate
			if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
				value = cert.PublicKey
			}
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("holds a private key, which verifies nothing; give the public key alone (openssl pkey -pubout)")
		default:
			return nil, fmt.Errorf("block %d is a %.40q; allowed are PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE", n, block.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", n, err)
		}
		keys = append(keys, value)
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in it; allowed are PEM blocks PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE")
	}
	return keys, nil
}
