package broadcast

import "net/url"

// NATS clients trim header values. So a name in a header has these bytes
// percent-encoded: '%', a space at its start or end, and control characters
// (which no valid name has). All other bytes are sent unchanged.

const upperHex = "0123456789ABCDEF"

// escape returns s as a header value.
func escape(s string) string {
	n := 0
	for i := 0; i < len(s); i++ {
		if mustEscape(s, i) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := 0; i < len(s); i++ {
		if mustEscape(s, i) {
			b = append(b, '%', upperHex[s[i]>>4], upperHex[s[i]&15])
		} else {
			b = append(b, s[i])
		}
	}
	return string(b)
}

func mustEscape(s string, i int) bool {
	c := s[i]
	return c == '%' || c < ' ' || c == 0x7f || c == ' ' && (i == 0 || i == len(s)-1)
}

// unescape returns the name in a header value. It returns false if a '%' is not
// followed by two hexadecimal digits.
func unescape(s string) (string, bool) {
	name, err := url.PathUnescape(s)
	return name, err == nil
}
