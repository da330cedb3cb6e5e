package v1

import (
	"slices"
	"strconv"
	"time"

	"belfry/message/strictjson"
	"belfry/wire"
)

// Reply writes an "ack", an "err" if r.Err is set, or a "left" if r answers
// nothing. Ref is the JSON token from Command, written unchanged.
func (Encoding) Reply(w *wire.Writer, r *wire.Reply) {
	switch {
	case r.Err != nil:
		sayErr(w, r)
	case r.Ref == "" && len(r.Left) > 0:
		dst := append(w.Buffer(), `{"type":"left","topics":`...)
		say(w, strictjson.AppendStrings(dst, r.Left))
	default:
		sayAck(w, r)
	}
}

func sayAck(w *wire.Writer, r *wire.Reply) {
	dst := w.Buffer()
	if len(r.Data) > 0 {
		dst = slices.Grow(dst, 80+len(r.Ref)+dataSize(r.Kind, r.Data))
	}
	dst = append(dst, `{"type":"ack"`...)
	dst = appendRef(dst, r.Ref)
	if r.ID != "" {
		dst = append(dst, `,"id":`...)
		dst = strictjson.AppendString(dst, r.ID)
	}
	dst = appendExpires(dst, r.Expires)
	if len(r.Left) > 0 {
		dst = append(dst, `,"left":`...)
		dst = strictjson.AppendStrings(dst, r.Left)
	}
	switch {
	case r.Data == nil:
	case r.JSON && len(r.Data) > 0:
		dst = append(dst, `,"data":`...)
		dst = append(dst, r.Data...)
	default:
		dst = appendData(dst, r.Kind, r.Data)
	}
	say(w, dst)
}

func sayErr(w *wire.Writer, r *wire.Reply) {
	ref := r.Ref
	if ref == "" {
		ref = r.Err.Ref
	}
	dst := append(w.Buffer(), `{"type":"err"`...)
	dst = appendRef(dst, ref)
	dst = append(dst, `,"code":`...)
	dst = strictjson.AppendString(dst, r.Err.Code)
	if r.Err.Field != "" {
		dst = append(dst, `,"field":`...)
		dst = strictjson.AppendString(dst, r.Err.Field)
	}
	dst = append(dst, `,"message":`...)
	dst = strictjson.AppendString(dst, r.Err.Text)
	say(w, dst)
}

func appendRef(dst []byte, ref string) []byte {
	if ref == "" {
		return dst
	}
	dst = append(dst, `,"ref":`...)
	return append(dst, ref...)
}

// appendExpires writes a time as "exp" of a JSON Web Token does (RFC 7519 §2,
// NumericDate): Unix seconds, here without decimals.
func appendExpires(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	dst = append(dst, `,"expires":`...)
	return strconv.AppendInt(dst, t.Unix(), 10)
}
