package auth

import (
	"bytes"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"belfry/message/strictjson"
	"belfry/session"
	"belfry/ws"
)

// appendRequest appends what the connect webhook is told of a request, as members
// of a JSON object. It runs on a shard. The length of the head limits it: each
// field, cookie and query is there once.
func (w *Webhook) appendRequest(dst []byte, r *ws.Request, from netip.AddrPort, encoding string) []byte {
	dst = appendAddress(dst, from)
	dst = strictjson.AppendString(append(dst, `,"path":`...), r.Path())
	dst = strictjson.AppendString(append(dst, `,"query":`...), w.query(r.RawQuery()))
	dst = appendValues(append(dst, `,"headers":{`...), w.opt.Headers, r.HeaderAll)
	dst = appendValues(append(dst, `},"cookies":{`...), w.opt.Cookies, func(name string, fn func([]byte) bool) { cookieValues(r, name, fn) })
	dst = strictjson.AppendString(append(dst, `},"agent":`...), agent(r))
	return strictjson.AppendString(append(dst, `,"encoding":`...), encoding)
}

func appendAddress(dst []byte, a netip.AddrPort) []byte {
	dst = append(dst, `"address":"`...)
	if a.IsValid() {
		dst = a.AppendTo(dst)
	}
	return append(dst, '"')
}

// appendValues appends members that are arrays with all values of a name, for the
// names that the request has.
func appendValues(dst []byte, names []string, each func(name string, fn func([]byte) bool)) []byte {
	first := true
	for _, name := range names {
		open := false
		each(name, func(value []byte) bool {
			switch {
			case open:
				dst = append(dst, ',')
			case first:
				dst = append(strictjson.AppendString(dst, name), `:[`...)
			default:
				dst = append(strictjson.AppendString(append(dst, ','), name), `:[`...)
			}
			dst = strictjson.AppendString(dst, value)
			open, first = true, false
			return true
		})
		if open {
			dst = append(dst, ']')
		}
	}
	return dst
}

// maxAgent limits User-Agent in what a webhook is told, in bytes.
const maxAgent = 128

func agent(r *ws.Request) []byte {
	value := r.Header("User-Agent")
	return value[:min(len(value), maxAgent)]
}

// query returns a query, without the token if belfry verifies that itself.
func (w *Webhook) query(raw []byte) []byte {
	if w.next == nil || !bytes.ContainsAny(raw, "tT%") {
		return raw
	}
	kept := make([]byte, 0, len(raw))
	for more := true; more; {
		var pair []byte
		pair, raw, more = bytes.Cut(raw, []byte("&"))
		key, _, _ := bytes.Cut(pair, []byte("="))
		if name, err := url.QueryUnescape(string(key)); err != nil || name == "token" {
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, '&')
		}
		kept = append(kept, pair...)
	}
	return kept
}

// appendClient appends what the webhooks are told of a session that exists, as
// members of a JSON object.
func appendClient(dst []byte, c *session.Client) []byte {
	dst = strictjson.AppendString(append(dst, `"sid":`...), c.SID)
	dst = appendAddress(append(dst, ','), c.Addr)
	dst = strictjson.AppendString(append(dst, `,"agent":`...), c.Agent)
	dst = strictjson.AppendString(append(dst, `,"encoding":`...), c.Encoding)
	if len(c.Meta) > 0 {
		dst = append(append(dst, `,"meta":`...), c.Meta...)
	}
	return dst
}

// appendGrant appends what the token grants, as a JSON object.
func appendGrant(dst []byte, g *session.Grant) []byte {
	dst = strictjson.AppendStrings(append(dst, `{"topics":`...), g.Topics)
	dst = strictjson.AppendStrings(append(dst, `,"subscribe":`...), g.Subscribe)
	dst = strictjson.AppendStrings(append(dst, `,"publish":`...), g.Publish)
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"issued", g.Issued}, {"expires", g.Expires}} {
		if !t.at.IsZero() {
			dst = append(append(append(dst, `,"`...), t.name...), `":`...)
			dst = strconv.AppendInt(dst, t.at.Unix(), 10)
		}
	}
	if g.DeviceClass != "" {
		dst = strictjson.AppendString(append(dst, `,"device_class":`...), g.DeviceClass)
	}
	if len(g.Meta) > 0 {
		dst = append(append(dst, `,"meta":`...), g.Meta...)
	}
	return append(dst, '}')
}
