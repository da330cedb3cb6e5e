package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Key is a secret of the Standard Webhooks scheme, which belfry and a backend
// share. It is never shown.
type Key struct{ secret []byte }

// ParseKey reads a key: "whsec_" and the base64 of 24 to 64 random bytes. The
// prefix may be missing. Errors do not repeat the key.
func ParseKey(text string) (Key, error) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, keyPrefix))
	if err != nil {
		return Key{}, errors.New(`a signing key is "whsec_" and the base64 of 24 to 64 random bytes: echo whsec_$(head -c 32 /dev/urandom | base64)`)
	}
	if n := len(secret); n < 24 || n > 64 {
		return Key{}, fmt.Errorf("the signing key has %d bytes; allowed are 24 to 64: echo whsec_$(head -c 32 /dev/urandom | base64)", n)
	}
	return Key{secret}, nil
}

const keyPrefix = "whsec_"

// String keeps a key out of logs, whatever verb prints it.
func (Key) String() string { return "[redacted]" }

// GoString is String for %#v.
func (Key) GoString() string { return "[redacted]" }

// sign returns the signature of an attempt: of its id, its time and the very
// bytes of its body.
func (k Key) sign(id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// Sign returns the field webhook-signature: a signature by each key, so that a key
// can be replaced while both sides know both.
func Sign(keys []Key, id string, at time.Time, body []byte) string {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(keys))
	for i, k := range keys {
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(k.sign(id, timestamp, body))
	}
	return strings.Join(signatures, " ")
}

// Tolerance is how far webhook-timestamp may be from the receiver's clock.
const Tolerance = 5 * time.Minute

// ErrSignature is the error of Verify if no signature fits.
var ErrSignature = errors.New("webhook: no signature is valid")

// Verify checks that a request was sent by somebody who has one of the keys, at
// most Tolerance ago. body are the bytes as they were received. A backend should
// also remember the webhook-ids of that time: a request may be repeated.
func Verify(h http.Header, body []byte, keys []Key, now time.Time) error {
	id, timestamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	if id == "" || timestamp == "" || h.Get("webhook-signature") == "" {
		return errors.New("webhook: webhook-id, webhook-timestamp or webhook-signature is missing")
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("webhook: webhook-timestamp is not a number of seconds")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > Tolerance || age < -Tolerance {
		return fmt.Errorf("webhook: webhook-timestamp is %v from this clock; allowed are %v", age.Round(time.Second), Tolerance)
	}
	for _, signature := range strings.Fields(h.Get("webhook-signature")) {
		encoded, isV1 := strings.CutPrefix(signature, "v1,")
		if !isV1 {
			continue // another version of the scheme
		}
		got, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		for _, k := range keys {
			if hmac.Equal(got, k.sign(id, timestamp, body)) {
				return nil
			}
		}
	}
	return ErrSignature
}
