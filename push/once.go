package push

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"belfry/idempotency"
	"belfry/message"
	"belfry/message/strictjson"
	"belfry/report"
)

// maxIdempotencyKey is the length of the longest Idempotency-Key, in bytes.
const maxIdempotencyKey = 255

// idempotencyKey returns the Idempotency-Key of a request, "" if it has none. The key is a
// string of RFC 8941 (in quotes), as the draft has it, or the characters themselves, as
// many clients send it: both forms are the same key.
func idempotencyKey(h http.Header) (string, *problem) {
	value, once := single(h, "Idempotency-Key")
	if !once {
		return "", &problem{cause: CauseField, field: "Idempotency-Key", detail: "given twice; allowed is once"}
	}
	if len(h["Idempotency-Key"]) == 0 {
		return "", nil
	}
	key, ok := value, true
	if strings.HasPrefix(value, `"`) {
		key, ok = unquote(value)
	}
	if !ok || key == "" || len(key) > maxIdempotencyKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &problem{cause: CauseField, field: "Idempotency-Key",
			detail: fmt.Sprintf("allowed are 1 to %d visible ASCII characters, as they are or as a string in quotes (RFC 8941 §3.3.3)", maxIdempotencyKey)}
	}
	return key, nil
}

// unquote reads a string of RFC 8941 §4.2.5. Nothing may follow it.
func unquote(s string) (string, bool) {
	out := make([]byte, 0, len(s))
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return string(out), i == len(s)-1
		case '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
			out = append(out, s[i])
		default:
			out = append(out, c)
		}
	}
	return "", false
}

// once is what makes a push one that is delivered once.
type once struct {
	id    idempotency.ID
	print idempotency.Print
}

// onceOf returns the id of a key, which is unique among the requests with one API key, and
// the hash of a request. line is the number of a line of a batch, 0 outside a batch.
func onceOf(c *keyCount, key string, line int, parts ...[]byte) *once {
	o := new(once)
	o.id = idempotency.ID(digest([]byte(c.name), []byte(key), strconv.AppendInt(nil, int64(line), 10)))
	o.print = idempotency.Print(digest(parts...))
	return o
}

// digest returns the beginning of the SHA-256 of parts and their lengths.
func digest(parts ...[]byte) [16]byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(strconv.AppendInt(nil, int64(len(p)), 10))
		h.Write([]byte{':'})
		h.Write(p)
	}
	var sum [sha256.Size]byte
	return [16]byte(h.Sum(sum[:0]))
}

// claim claims the key of a push. If the key is known, it returns the first answer.
func (s *Server) claim(o *once) (*idempotency.Claim, *idempotency.Answer, *problem) {
	defer s.leave() // a claim waits for other nodes
	if p := s.enter(); p != nil {
		return nil, nil, p
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opt.NodesWait)
	defer cancel()
	claim, first, err := s.opt.Idempotency.Claim(ctx, o.id, o.print)
	if err == nil {
		return claim, first, nil
	}
	p := &problem{cause: CauseKeyUnavailable, field: "Idempotency-Key", retryAfter: time.Second}
	switch {
	case err == idempotency.ErrProgress:
		p.cause, p.detail = CauseKeyProgress, "the first request with this key has no answer yet; try again later"
	case err == idempotency.ErrOther:
		p.cause, p.detail = CauseKeyReused, "the key was used with another path, query or body; use a new key for a new message"
	default:
		p.detail = err.Error() + "; nothing was delivered, so try again with the same key"
	}
	return nil, nil, p
}

// pushOnce publishes a message that has an Idempotency-Key, unless its key is known.
func (s *Server) pushOnce(w http.ResponseWriter, r *http.Request, c call, m *message.Message, q report.Query, key string) int {
	claim, first, p := s.claim(onceOf(c.key, key, 0, []byte(r.URL.EscapedPath()), []byte(r.URL.RawQuery), []byte{byte(m.Kind)}, m.Payload))
	if p != nil {
		return s.refuse(w, p)
	}
	if first != nil {
		return replay(w, first)
	}
	settle := settling(claim)
	defer settle(nil, nil)
	ctx, gone := c.conn.whileThere(r)
	pending, p := s.publish(ctx, gone, m, "body", q)
	if p != nil {
		settle(nil, p)
		return s.refuse(w, p)
	}
	s.count.payloadBytes.Add(uint64(len(m.Payload)))
	c.key.pushes.Add(1)
	a := &idempotency.Answer{Status: http.StatusAccepted, Body: appendID(nil, m.ID)}
	if pending != nil {
		// The client may go away: the answer is for its next request too.
		a.Status, a.Body, p = s.awaited(w, context.Background(), nil, pending, q.Wait)
		if p != nil {
			settle(nil, p)
			return s.refuse(w, p)
		}
	}
	settle(a, nil)
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(a.Status)
	w.Write(a.Body)
	return a.Status
}

// settling returns what ends a claim: with an answer, or with a problem. Only the first
// call has an effect. A call with neither is for a panic, after which some sessions may
// have the message.
func settling(c *idempotency.Claim) func(*idempotency.Answer, *problem) {
	ended := false
	return func(a *idempotency.Answer, p *problem) {
		if ended {
			return
		}
		ended = true
		if a == nil && p == nil {
			p = &problem{cause: CauseInternal, detail: faultDetail}
		}
		switch {
		case a != nil && len(a.Body) <= idempotency.MaxBody:
			c.Finish(*a)
		case a != nil:
			c.Finish(idempotency.Answer{Status: a.Status, Body: shortened(a.Body)})
		case p.cause == CauseInternal:
			c.Finish(idempotency.Answer{Status: p.cause.Status(), Body: append(p.appendJSON(nil), '\n')})
		default:
			c.Release() // nothing was delivered
		}
	}
}

// shortened returns the id of a report that is too long to be remembered.
func shortened(body []byte) []byte {
	var a struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return []byte("{}\n")
	}
	return appendID(nil, a.ID)
}

// replay answers with the answer of the first request.
func replay(w http.ResponseWriter, a *idempotency.Answer) int {
	h := w.Header()
	h["Content-Type"] = jsonType
	if a.Status >= http.StatusBadRequest {
		h["Content-Type"] = problemType
	}
	h["Idempotent-Replayed"] = []string{"true"}
	w.WriteHeader(a.Status)
	w.Write(a.Body)
	return a.Status
}

// appendID appends the answer to a push that does not wait.
func appendID(b []byte, id string) []byte {
	b = strictjson.AppendString(append(b, `{"id":`...), id)
	return append(b, '}', '\n')
}

// lineOnce publishes a line of a batch with an Idempotency-Key: each line has a key of its
// own, made of the batch's and the line's number. So a batch that broke off can be sent
// again, and goes on where it ended.
func (s *Server) lineOnce(a *lineAnswer, c *keyCount, key string, line []byte) {
	claim, first, p := s.claim(onceOf(c, key, a.n, line))
	switch {
	case p != nil:
		a.p = p
		return
	case first != nil && first.Status >= http.StatusBadRequest:
		a.p = &problem{cause: CauseInternal, detail: faultDetail}
		return
	case first != nil:
		a.first = first.Body
		return
	}
	settle := settling(claim)
	a.m, a.pending, a.p = s.publishItem(line)
	switch {
	case a.p != nil:
		settle(nil, a.p)
	case a.pending != nil:
		a.settle = settle
	default:
		settle(&idempotency.Answer{Status: http.StatusAccepted, Body: appendID(nil, a.m.ID)}, nil)
	}
}

// newIdempotency makes the keys of a server that is given none: those of one node.
func newIdempotency(o *Options) error {
	if o.Idempotency != nil {
		return nil
	}
	keys, err := idempotency.New(idempotency.Options{})
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	o.Idempotency = keys
	return nil
}
