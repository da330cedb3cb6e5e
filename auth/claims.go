package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"belfry/message/strictjson"
	"belfry/session"
)

// ClaimNames say in which claims of a token belfry finds what. A name is compared as
// a whole: https://app.example/topics is one, and a dot has no meaning in it.
type ClaimNames struct {
	UID       string // "": sub
	Topics    string // "": topics
	Subscribe string // "": subscribe
	Publish   string // "": publish
	Meta      string // "": meta
	Limits    string // "": limits

	DeviceClass string // "": device_class
}

func (n *ClaimNames) fill() {
	for _, name := range []struct {
		value *string
		def   string
	}{{&n.UID, "sub"}, {&n.Topics, "topics"}, {&n.Subscribe, "subscribe"}, {&n.Publish, "publish"}, {&n.Meta, "meta"}, {&n.Limits, "limits"}, {&n.DeviceClass, "device_class"}} {
		if *name.value == "" {
			*name.value = name.def
		}
	}
}

// claims are what belfry reads of a token's claims. Everything else is skipped, so
// that a token costs little memory.
type claims struct {
	names    *ClaimNames
	required []string // claims that a token must have

	issuer          string
	audience        jwt.ClaimStrings
	expires, begins *jwt.NumericDate // exp, nbf; nil: not in the token
	issued          *jwt.NumericDate // iat

	uid                        string
	hasUID                     bool
	topics, subscribe, publish []string
	meta                       []byte
	limits                     session.SessionLimits
	deviceClass                string

	missing []string // of required
	cheap   bool     // the signature is an HMAC

	dates [3]jwt.NumericDate // that expires, begins and issued point to
}

// spareClaims has claims that are used again. Most tokens come once, and then only the
// grant lives on.
var spareClaims = sync.Pool{New: func() any { return new(claims) }}

func newClaims(o *JWT) *claims {
	c := spareClaims.Get().(*claims)
	c.names, c.required = &o.Claims, o.Required
	return c
}

// reset has the claims hold nothing.
func (c *claims) reset() {
	*c = claims{names: c.names, required: c.required, missing: c.missing[:0]}
}

// free gives claims back that nothing refers to. What a grant has of them is not part
// of them.
func (c *claims) free() {
	c.reset()
	spareClaims.Put(c)
}

var _ jwt.Claims = (*claims)(nil)

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.issued, nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.begins, nil }
func (c *claims) GetIssuer() (string, error)                   { return c.issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.uid, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return c.audience, nil }

// bytes is about what the texts of the claims take in memory.
func (c *claims) bytes() int {
	n := len(c.uid) + len(c.issuer) + len(c.meta)
	for _, list := range [...][]string{c.audience, c.topics, c.subscribe, c.publish} {
		for _, text := range list {
			n += 24 + len(text)
		}
	}
	return n
}

// claimError is a claim with a value that is not allowed. The signature was checked
// before a client is told of it.
type claimError struct{ claim, detail string }

func (e *claimError) Error() string { return fmt.Sprintf("claim %s: %s", e.claim, e.detail) }

var errNotObject = errors.New("the claims are not a JSON object")

// decoder is a decoder and what it reads from.
type decoder struct {
	jsontext.Decoder
	from *bytes.Buffer
}

// decoders has decoders that are ready to use.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// read has the decoder read p. It keeps no part of p after read(nil).
func (d *decoder) read(p []byte) {
	if d.from == nil {
		d.from = new(bytes.Buffer)
	}
	*d.from = *bytes.NewBuffer(p)
	d.Reset(d.from)
}

// UnmarshalJSON implements json.Unmarshaler. jsontext refuses names that are given
// twice, half a surrogate pair, and what is not UTF-8: no two readers of a token may
// see different claims.
func (c *claims) UnmarshalJSON(p []byte) error {
	d := decoders.Get().(*decoder)
	d.read(p)
	defer func() {
		d.read(nil)
		decoders.Put(d)
	}()
	c.missing = append(c.missing[:0], c.required...)
	if begin, err := d.ReadToken(); err != nil || begin.Kind() != '{' {
		return errNotObject
	}
	var wrong error // the first claim that is wrong; the syntax of all is checked
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		claim := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if i := slices.Index(c.missing, claim); i >= 0 && value.Kind() != 'n' {
			c.missing = slices.Delete(c.missing, i, i+1)
		}
		if err := c.read(claim, value); err != nil && wrong == nil {
			wrong = err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return errNotObject
	}
	return wrong
}

// read reads one claim. A name may stand for two things: sub for the uid.
func (c *claims) read(claim string, value jsontext.Value) (err error) {
	switch claim {
	case "iss":
		c.issuer, err = text(claim, value)
	case "aud":
		c.audience, err = list(claim, value)
	case "exp":
		c.expires, err = c.date(0, claim, value)
	case "nbf":
		c.begins, err = c.date(1, claim, value)
	case "iat":
		c.issued, err = c.date(2, claim, value)
	}
	if err != nil || value.Kind() == 'n' {
		return err
	}
	switch claim {
	case c.names.UID:
		c.hasUID = true
		c.uid, err = text(claim, value)
	case c.names.Topics:
		c.topics, err = list(claim, value)
	case c.names.Subscribe:
		c.subscribe, err = list(claim, value)
	case c.names.Publish:
		c.publish, err = list(claim, value)
	case c.names.Meta:
		c.meta, err = meta(claim, value)
	case c.names.Limits:
		c.limits, err = readLimits(claim, value)
	case c.names.DeviceClass:
		c.deviceClass, err = deviceClass(claim, value)
	}
	return err
}

func text(claim string, value jsontext.Value) (string, error) {
	if value.Kind() != '"' {
		return "", &claimError{claim, "must be a string"}
	}
	s, err := strictjson.String(claim, value)
	if err != nil {
		return "", &claimError{claim, "is not valid text"}
	}
	return s, nil
}

// list reads an array of strings, or one string (RFC 7519 §4.1.3).
func list(claim string, value jsontext.Value) ([]string, error) {
	if value.Kind() == '"' {
		s, err := text(claim, value)
		return []string{s}, err
	}
	if value.Kind() != '[' {
		return nil, &claimError{claim, "must be an array of strings, or a string"}
	}
	all, err := strictjson.Strings(claim, value)
	if err != nil {
		return nil, &claimError{claim, "must be an array of strings, or a string"}
	}
	return all, nil
}

// lastDate is the end of the year 9999 in Unix seconds, the last one that RFC 3339
// can write.
const lastDate = 253402300799

// date reads a NumericDate: seconds since 1970, which may have a fraction (RFC 7519
// §2).
func date(claim string, value jsontext.Value) (time.Time, error) {
	if value.Kind() == '0' {
		if n, err := strconv.ParseFloat(string(value), 64); err == nil && n >= 0 && n <= lastDate {
			seconds := int64(n)
			return time.Unix(seconds, int64((n-float64(seconds))*1e9)), nil
		}
	}
	return time.Time{}, &claimError{claim, "must be a number of seconds since 1970"}
}

// date reads a NumericDate into one of c.dates.
func (c *claims) date(i int, claim string, value jsontext.Value) (*jwt.NumericDate, error) {
	at, err := date(claim, value)
	if err != nil {
		return nil, err
	}
	c.dates[i].Time = at
	return &c.dates[i], nil
}

// deviceClass reads the name of a device class.
func deviceClass(claim string, value jsontext.Value) (string, error) {
	s, err := text(claim, value)
	if err == nil && (s == "" || session.CheckDeviceClass(s) != nil) {
		err = &claimError{claim, fmt.Sprintf("must be 1 to %d of A-Z a-z 0-9 _ - and dots", session.MaxDeviceClass)}
	}
	return s, err
}

func meta(claim string, value jsontext.Value) ([]byte, error) {
	if value.Kind() != '{' || len(value) > session.MaxMeta {
		return nil, &claimError{claim, fmt.Sprintf("must be a JSON object of at most %d bytes", session.MaxMeta)}
	}
	return bytes.Clone(value), nil
}
