package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// Template is text with {uid}, {topic}, {n} and {payload} in it, which stand
// for the user's id, the topic and the number of a connection, and for the
// payload of a message. Other braces, as in JSON, stand for themselves.
type Template struct{ parts []part }

type part struct {
	text string // before the field
	kind field
}

type field byte

const (
	noField field = iota
	uidField
	topicField
	numberField
	payloadField
)

// ParseTemplate accepts any text.
func ParseTemplate(s string) Template {
	var t Template
	for text := ""; s != ""; {
		at := strings.IndexByte(s, '{')
		if at < 0 {
			at = len(s)
		}
		text, s = text+s[:at], s[at:]
		found := false
		for name, kind := range map[string]field{"{uid}": uidField, "{topic}": topicField, "{n}": numberField, "{payload}": payloadField} {
			if strings.HasPrefix(s, name) {
				t.parts = append(t.parts, part{text, kind})
				text, s, found = "", s[len(name):], true
				break
			}
		}
		if !found && s != "" {
			text, s = text+s[:1], s[1:]
		}
		if s == "" {
			t.parts = append(t.parts, part{text: text})
		}
	}
	return t
}

// Values are the values for a template.
type Values struct {
	User    int // gives {uid}
	Number  int // of the connection
	Topics  int // how many there are; 0 makes {topic} empty
	Payload []byte
}

// Append appends the template's text with v in it.
func (t Template) Append(dst []byte, v Values) []byte {
	for _, p := range t.parts {
		dst = append(dst, p.text...)
		switch p.kind {
		case uidField:
			dst = AppendUID(dst, v.User)
		case topicField:
			if v.Topics > 0 {
				dst = append(dst, "bench."...)
				dst = strconv.AppendInt(dst, int64(v.Number%v.Topics), 10)
			}
		case numberField:
			dst = strconv.AppendInt(dst, int64(v.Number), 10)
		case payloadField:
			dst = append(dst, v.Payload...)
		}
	}
	return dst
}

// UID returns the 16-byte id of the i-th user.
func UID(i int) string { return string(AppendUID(nil, i)) }

// AppendUID appends UID(i).
func AppendUID(dst []byte, i int) []byte { return fmt.Appendf(dst, "u%015d", i) }

// DevPath is the path of belfry in development mode, with user and topic in the
// query.
func DevPath(topics int) string {
	if topics == 0 {
		return "/ws?uid={uid}"
	}
	return "/ws?uid={uid}&topic={topic}"
}
