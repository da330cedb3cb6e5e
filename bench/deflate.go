package bench

import (
	"bytes"
	"compress/flate"
	"io"
)

// deflateOffer is the line of a request that offers permessage-deflate (RFC
// 7692 §7.1). Without context takeover all receivers of a broadcast get the same
// bytes, so that the client inflates them once.
const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// agreesToDeflate says whether an answer's extensions are permessage-deflate
// without context takeover and nothing else.
func agreesToDeflate(extensions []byte) bool {
	name, params, _ := bytes.Cut(extensions, []byte(";"))
	if string(bytes.TrimSpace(name)) != "permessage-deflate" || bytes.IndexByte(params, ',') >= 0 {
		return false
	}
	for p := range bytes.SplitSeq(params, []byte(";")) {
		if string(bytes.TrimSpace(p)) == "server_no_context_takeover" {
			return true
		}
	}
	return false
}

// deflateEnd is what the sender has cut from a message, an empty stored block
// (RFC 7692 §7.2.1), and another one that ends the stream for a reader of RFC
// 1951.
const deflateEnd = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflater inflates messages. Its zero value is ready.
type inflater struct {
	in   bytes.Reader
	src  []byte // scratch for a message with its end
	flat io.ReadCloser
	out  bytes.Buffer
}

// inflate returns what the message p inflates to, good until the next call, and
// false if p is damaged or inflates to more than MaxFrame bytes.
func (d *inflater) inflate(p []byte) ([]byte, bool) {
	d.src = append(append(d.src[:0], p...), deflateEnd...)
	d.in.Reset(d.src)
	if d.flat == nil {
		d.flat = flate.NewReader(&d.in)
	} else if err := d.flat.(flate.Resetter).Reset(&d.in, nil); err != nil {
		return nil, false
	}
	d.out.Reset()
	_, err := io.Copy(&d.out, io.LimitReader(d.flat, MaxFrame+1))
	return d.out.Bytes(), err == nil && d.in.Len() == 0 // beyond the limit some of the input is left
}
