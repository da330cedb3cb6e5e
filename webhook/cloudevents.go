package webhook

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"
	"unicode/utf8"
)

// header returns the fields of a call that are the same in all its attempts:
// CloudEvents 1.0 in binary mode (HTTP protocol binding §3.1). The library for
// CloudEvents reads them in a test; as part of the server it would add a second
// JSON library and XML for these few lines.
func (c *Call) header() http.Header {
	h := make(http.Header, len(c.Header)+len(c.Extensions)+10)
	for name, values := range c.Header {
		if name = textproto.CanonicalMIMEHeaderKey(name); mayPass(name) {
			h[name] = values
		}
	}
	set := func(name, value string) { h[name] = []string{value} }
	if c.ContentType != "" {
		set("Content-Type", c.ContentType) // the attribute datacontenttype
	}
	set("User-Agent", "belfry")
	set("Ce-Specversion", "1.0")
	set("Ce-Id", c.ID)
	set("Ce-Type", EncodeAttribute(c.Type))
	set("Ce-Source", EncodeAttribute(c.Source))
	if c.Subject != "" {
		set("Ce-Subject", EncodeAttribute(c.Subject))
	}
	if !c.Time.IsZero() {
		set("Ce-Time", c.Time.UTC().Format(time.RFC3339Nano))
	}
	for _, a := range c.Extensions {
		if a.Value != "" {
			set(textproto.CanonicalMIMEHeaderKey("ce-"+a.Name), EncodeAttribute(a.Value))
		}
	}
	if c.Idempotent {
		// A transport sends a call again whose keep-alive connection turns out to
		// be closed. An empty list says so without sending the field (net/http).
		h["Idempotency-Key"] = []string{}
	}
	return h
}

// own are fields that the call or its connection sets (RFC 9110 §7.6.1, §10.1.1).
var own = map[string]bool{"Connection": true, "Keep-Alive": true, "Proxy-Connection": true,
	"Proxy-Authorization": true, "Proxy-Authenticate": true, "Te": true, "Trailer": true, "Transfer-Encoding": true,
	"Upgrade": true, "Content-Length": true, "Content-Type": true, "Content-Encoding": true, "Host": true, "Expect": true,
	"Accept-Encoding": true, "Idempotency-Key": true, "User-Agent": true}

// mayPass says whether a field may be added to a call. Fields of CloudEvents and
// of the signature may not: a client's "ce-uid" would look like ours.
func mayPass(name string) bool {
	return !own[name] && !strings.HasPrefix(name, "Ce-") && !strings.HasPrefix(name, "Webhook-")
}

// EncodeAttribute writes the value of an attribute as the value of a field (HTTP
// protocol binding §3.1.3.2): space, ", % and everything outside of printable
// ASCII is percent-encoded. Bytes that are not UTF-8 become U+FFFD.
func EncodeAttribute(value string) string {
	plain := true
	for i := range len(value) {
		plain = plain && isPlain(value[i])
	}
	if plain {
		return value
	}
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, 2*len(value))
	for _, r := range value { // an invalid byte is utf8.RuneError
		if r < utf8.RuneSelf && isPlain(byte(r)) {
			out = append(out, byte(r))
			continue
		}
		var b [utf8.UTFMax]byte
		for _, c := range b[:utf8.EncodeRune(b[:], r)] {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}

func isPlain(c byte) bool { return c > 0x20 && c < 0x7f && c != '"' && c != '%' }
