package ws

import (
	"net/http"
	"time"
)

// Date formats the value of the field Date (RFC 9110 §6.6.1), at most once for
// each second. The zero value is ready for use. One goroutine at a time may use
// it.
type Date struct {
	second int64 // Unix time of text
	text   []byte
}

// At returns the date at the time t, valid until the next call.
func (d *Date) At(t time.Time) []byte {
	if second := t.Unix(); second != d.second || d.text == nil {
		d.second, d.text = second, t.UTC().AppendFormat(d.text[:0], http.TimeFormat)
	}
	return d.text
}
