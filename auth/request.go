package auth

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"

	"belfry/message"
	"belfry/session"
	"belfry/ws"
)

// Places where a request can carry a token, as refusals name them.
const (
	inHeader      = "Authorization: Bearer"
	inQuery       = "?token="
	inSubprotocol = "Sec-WebSocket-Protocol"
)

// request is what an upgrade request says about its client. Its slices are
// borrowed from the ws.Request.
type request struct {
	token  []byte
	place  string // where the token was; "" if there is none
	topics []string
}

// readRequest collects the token and the topics of a request. It refuses a request
// with different tokens: a proxy or a page that adds a token of its own must not
// decide which one counts. cookie is the name of the cookie that may carry a token,
// "" for none; max is the longest token in bytes.
func readRequest(r *ws.Request, cookie string, max int) (q request, refusal *ws.Refusal) {
	add := func(token []byte, place string) bool {
		switch {
		case refusal != nil:
		case len(token) == 0:
			refusal = ws.Unauthorized("token: empty in " + place).WithCause(session.CauseTokenMissing)
		case len(token) > max:
			refusal = tooLong(len(token), max)
		case q.place == "":
			q.token, q.place = token, place
		case !bytes.Equal(q.token, token):
			refusal = ws.BadRequest(fmt.Sprintf("token: %s and %s carry different tokens; send one", q.place, place)).WithCause(session.CauseTokenPlace)
		}
		return refusal == nil
	}
	r.HeaderAll("Authorization", func(value []byte) bool {
		token, ok := bearer(value)
		return !ok || add(token, inHeader)
	})
	subprotocolTokens(r, func(token []byte) bool { return add(token, inSubprotocol) })
	if cookie != "" {
		cookieValues(r, cookie, func(value []byte) bool { return add(value, "the cookie "+cookie) })
	}
	if refusal == nil {
		other := q.readQuery(r, add) // add may set refusal
		refusal = cmp.Or(refusal, other)
	}
	if refusal == nil && q.place == inSubprotocol && r.Subprotocol() == "" {
		refusal = ws.BadRequest("token: the token in Sec-WebSocket-Protocol is never the subprotocol that is answered: offer belfry.plain or belfry.v1 beside it").
			WithCause(session.CauseTokenPlace)
	}
	return q, refusal
}

func tooLong(n, max int) *ws.Refusal {
	return ws.Unauthorized(fmt.Sprintf("token: %d bytes; at most %d are allowed (auth.max_token)", n, max)).WithCause(session.CauseTokenSize)
}

// readQuery reads the parameters token and topic, and refuses uid beside a token.
func (q *request) readQuery(r *ws.Request, add func(token []byte, place string) bool) (refusal *ws.Refusal) {
	uid, stopped := false, false
	r.QueryEach(func(key, value []byte) bool {
		switch {
		case string(key) == "token":
			stopped = !add(value, inQuery)
		case string(key) == "topic":
			topic := string(value)
			if err := message.CheckTopic(topic); err != nil {
				refusal = ws.BadRequest(err.Error() + " (in a query + is a space and %2B a plus)").WithCause(session.CauseTopic)
			}
			q.topics = append(q.topics, topic)
		case string(key) == "uid":
			uid = true
		case bytes.EqualFold(key, []byte("token")):
			refusal = misspelt(key, "token", session.CauseTokenPlace)
		case bytes.EqualFold(key, []byte("topic")):
			refusal = misspelt(key, "topic", session.CauseTopic)
		case bytes.EqualFold(key, []byte("uid")):
			refusal = misspelt(key, "uid", session.CauseUID)
		}
		return refusal == nil && !stopped
	})
	if refusal == nil && uid && q.place != "" && !stopped {
		refusal = ws.BadRequest("uid: the token says who the user is; leave the parameter out").WithCause(session.CauseUID)
	}
	return refusal
}

func misspelt(key []byte, name string, cause ws.Cause) *ws.Refusal {
	return ws.BadRequest(fmt.Sprintf("%s: the parameter is %s, in lower case", key, name)).WithCause(cause)
}

// bearer returns the token of a field Authorization with the scheme Bearer (RFC 6750
// §2.1). ok is false for other schemes, which are for a proxy or for nobody.
func bearer(value []byte) (token []byte, ok bool) {
	const scheme = "bearer"
	if len(value) < len(scheme) || !bytes.EqualFold(value[:len(scheme)], []byte(scheme)) {
		return nil, false
	}
	rest := value[len(scheme):]
	if len(rest) > 0 && rest[0] != ' ' {
		return nil, false
	}
	return bytes.Trim(rest, " "), true
}

// subprotocolTokens calls fn with each offered subprotocol that is a token, until fn
// returns false.
func subprotocolTokens(r *ws.Request, fn func(token []byte) bool) {
	r.HeaderAll("Sec-WebSocket-Protocol", func(list []byte) bool {
		for more := true; more; {
			var offer []byte
			offer, list, more = bytes.Cut(list, []byte(","))
			if token, ok := offeredToken(bytes.Trim(offer, " \t")); ok && !fn(token) {
				return false
			}
		}
		return true
	})
}

// bearerPrefix begins an offer that is a token in any form.
const bearerPrefix = "bearer."

// offeredToken says whether an offered subprotocol is a token: it begins with
// "bearer.", or it has the form of a JWT: three parts in base64url. Names like
// wamp.2.json have that form too, so the first part must also begin a JSON object.
func offeredToken(offer []byte) (token []byte, ok bool) {
	if token, ok := bytes.CutPrefix(offer, []byte(bearerPrefix)); ok {
		return token, true
	}
	if len(offer) < 4 || offer[0] != 'e' || bytes.Count(offer, []byte(".")) != 2 {
		return nil, false
	}
	var begin [3]byte
	if _, err := base64.RawURLEncoding.Decode(begin[:], offer[:4]); err != nil || begin[0] != '{' || !bytes.ContainsRune([]byte("\" \t\r\n"), rune(begin[1])) {
		return nil, false
	}
	for _, c := range offer {
		if !isBase64URL(c) && c != '.' {
			return nil, false
		}
	}
	return offer, true
}

func isBase64URL(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// cookieValues calls fn with the value of each cookie of that name (RFC 6265 §4.2.1),
// until fn returns false. A page of a sibling domain can set a second cookie of the
// same name, so the caller must not take the first one silently.
func cookieValues(r *ws.Request, name string, fn func(value []byte) bool) {
	r.HeaderAll("Cookie", func(list []byte) bool {
		for more := true; more; {
			var pair []byte
			pair, list, more = bytes.Cut(list, []byte(";"))
			key, value, ok := bytes.Cut(bytes.Trim(pair, " \t"), []byte("="))
			if !ok || string(key) != name {
				continue
			}
			if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			if !fn(value) {
				return false
			}
		}
		return true
	})
}
