package auth

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"belfry/message/strictjson"
	"belfry/session"
	"belfry/webhook"
)

// answerError is an answer of a webhook that cannot be used. Its text does not
// repeat values of the answer.
type answerError struct{ detail string }

func (e *answerError) Error() string { return "the answer: " + e.detail }

// readGrant reads the answer of the connect webhook. What it does not say stays as
// in g, what the token grants. An empty answer changes nothing.
func readGrant(answer *webhook.Answer, g session.Grant) (session.Grant, error) {
	if len(bytes.TrimSpace(answer.Body)) == 0 {
		return g, nil
	}
	var o strictjson.Object
	if err := o.Parse(answer.Body); err != nil {
		return g, &answerError{err.Error()}
	}
	for _, f := range o.Fields() {
		if err := readGrantField(&g, string(f.Name), jsontext.Value(f.Value)); err != nil {
			return g, fieldError(err)
		}
	}
	return g, nil
}

// grantFields are the members of an answer.
var grantFields = []string{"uid", "topics", "subscribe", "publish", "meta", "expires", "limits", "device_class"}

func readGrantField(g *session.Grant, name string, value jsontext.Value) (err error) {
	switch {
	case !slices.Contains(grantFields, name):
		return &claimError{strictjson.Shorten(name), "is not known; allowed are " + strings.Join(grantFields, ", ")}
	case value.Kind() == 'n': // as if it were missing
		return nil
	}
	switch name {
	case "uid":
		g.UID, err = text(name, value)
	case "topics":
		g.Topics, err = list(name, value)
	case "subscribe":
		g.Subscribe, err = list(name, value)
	case "publish":
		g.Publish, err = list(name, value)
	case "meta":
		g.Meta, err = meta(name, value)
	case "limits":
		g.Limits, err = readLimits(name, value)
	case "device_class":
		g.DeviceClass, err = deviceClass(name, value)
	case "expires":
		g.Expires, err = readTime(name, value)
	}
	return err
}

// readTime reads seconds since 1970, or a text as in RFC 3339.
func readTime(name string, value jsontext.Value) (time.Time, error) {
	if value.Kind() == '"' {
		s, err := text(name, value)
		if err != nil {
			return time.Time{}, err
		}
		at, err := time.Parse(time.RFC3339, s)
		// The zero time of some languages is the year 1, which Grant.Expires takes for never.
		if err != nil || at.Unix() < 0 {
			return time.Time{}, &claimError{name, "must be a number of seconds since 1970, or a text like 2030-01-31T12:00:00Z"}
		}
		return at, nil
	}
	return date(name, value)
}

// fieldError names a field of an answer where the readers of tokens name a claim.
func fieldError(err error) error {
	var c *claimError
	if errors.As(err, &c) {
		return &answerError{fmt.Sprintf("%s %s", c.claim, c.detail)}
	}
	return &answerError{err.Error()}
}

// refusedWith returns the status and the reason of an answer with which a backend
// refuses a client: 401 or 403.
func refusedWith(err error) (status int, reason string, ok bool) {
	var s *webhook.StatusError
	if !errors.As(err, &s) {
		return 0, "", false
	}
	if status = s.Answer.Status; status != http.StatusUnauthorized && status != http.StatusForbidden {
		return 0, "", false
	}
	return status, readReason(s.Answer.Body), true
}

// maxReason is the longest reason, in bytes: a close frame holds 123.
const maxReason = 120

// readReason returns the member reason of a JSON object, "" if there is none. A
// client is told it: it is one line and short.
func readReason(body []byte) string {
	var o strictjson.Object
	if o.Parse(body) != nil {
		return ""
	}
	value := o.Value("reason")
	if value == nil || jsontext.Value(value).Kind() != '"' {
		return ""
	}
	s, err := strictjson.String("reason", value)
	if err != nil {
		return ""
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	for len(s) > maxReason {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
