package strictjson

import (
	"bytes"
	"encoding/base64"
	"fmt"

	"belfry/message"
)

// Base64 returns the bytes of a JSON string in base64 (RFC 4648 §4) as a new slice.
// Padding is required, and characters outside the alphabet are refused (§3.3). So
// are line breaks (§3.1), which encoding/base64 would skip, and bits behind the
// last byte that are not 0 (§3.5): a payload has one encoding only.
func Base64(field string, value []byte) ([]byte, error) {
	text, detail := unquote(value)
	if detail != "" {
		return nil, &message.FieldError{Field: field, Detail: detail}
	}
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(decoded, text)
	if err == nil && base64.StdEncoding.EncodedLen(n) != len(text) { // Decode has skipped something
		err = fmt.Errorf("a line break at byte %d", bytes.IndexAny(text, "\r\n"))
	}
	if err != nil {
		return nil, &message.FieldError{Field: field, Detail: err.Error() + "; allowed is base64 in the standard alphabet, with padding and without line breaks (RFC 4648 §4)"}
	}
	return decoded[:n:n], nil
}
