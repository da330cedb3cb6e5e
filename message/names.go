package message

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Limits of names, in bytes.
const (
	MaxTopicLen = 128
	MaxUIDLen   = 128 // also for Message.Key
	MaxIDLen    = 128 // of Message.ID
)

// CheckTopic returns a *FieldError unless name is a topic: 1 to MaxTopicLen
// bytes of A-Z a-z 0-9 _ - . : / @ without an empty token between dots. NATS
// wildcards are not among these characters, so a topic is always one literal
// NATS subject.
func CheckTopic(name string) error {
	if n := len(name); n < 1 || n > MaxTopicLen {
		return &FieldError{"topic", fmt.Sprintf("%d bytes long; allowed are 1 to %d", n, MaxTopicLen)}
	}
	prev := byte('.')
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if prev == '.' {
				return &FieldError{"topic", fmt.Sprintf("%q has an empty token between dots", name)}
			}
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '_', c == '-', c == ':', c == '/', c == '@':
		default:
			return &FieldError{"topic", fmt.Sprintf("%q has a character outside A-Z a-z 0-9 _ - . : / @ at byte %d", name, i)}
		}
		prev = c
	}
	if prev == '.' {
		return &FieldError{"topic", fmt.Sprintf("%q has an empty token between dots", name)}
	}
	return nil
}

// CheckUID returns a *FieldError unless uid is 1 to MaxUIDLen bytes of UTF-8
// without control characters.
func CheckUID(uid string) error {
	if n := len(uid); n < 1 || n > MaxUIDLen {
		return &FieldError{"uid", fmt.Sprintf("%d bytes long; allowed are 1 to %d", n, MaxUIDLen)}
	}
	if !utf8.ValidString(uid) {
		return &FieldError{"uid", "not valid UTF-8"}
	}
	for i, r := range uid {
		if unicode.IsControl(r) {
			return &FieldError{"uid", fmt.Sprintf("control character %U at byte %d", r, i)}
		}
	}
	return nil
}

// CheckKey returns a *FieldError unless key is valid as Message.Key: the rules
// are the ones for a uid.
func CheckKey(key string) error { return Renamed(CheckUID(key), "key") }
