package ws

import (
	"net/http"
	"time"
)

// Date is the value of a Date field (RFC 9110 §6.6.1), formatted at most
// once a second. The zero value is ready.
type Date struct {
	second int64 // Unix time that text is of
	text   []byte
}

// At returns the date of t, valid until the next call.
func (d *Date) At(t time.Time) []byte {
	if second := t.Unix(); second != d.second || d.text == nil {
		d.second, d.text = second, t.UTC().AppendFormat(d.text[:0], http.TimeFormat)
	}
	return d.text
}
