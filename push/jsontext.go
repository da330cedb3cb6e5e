package push

import (
	"encoding/binary"
	"encoding/hex"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			start = i + 1
		}
		i += n
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// The functions below walk JSON that json.Valid has accepted already, so they
// check nothing of the syntax. They exist because encoding/json matches names
// without regard to case, lets a name appear twice and turns lone surrogates
// into U+FFFD, none of which an API should be quiet about.

// skipSpace returns the index of the first byte at or after i that is not
// JSON white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index after the string that starts at i.
func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the index after the value that starts at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		for depth := 0; ; {
			switch b[i] {
			case '"':
				i = skipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
	}
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
		i++
	}
	return i
}

// eachMember calls f with the raw name, quotes included, and the raw value of
// each member of the object b, until f returns an error.
func eachMember(b []byte, f func(name, value []byte) error) error {
	for i := skipSpace(b, skipSpace(b, 0)+1); b[i] != '}'; {
		nameEnd := skipString(b, i)
		start := skipSpace(b, skipSpace(b, nameEnd)+1) // past the colon
		end := skipValue(b, start)
		if err := f(b[i:nameEnd], b[start:end]); err != nil {
			return err
		}
		if i = skipSpace(b, end); b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return nil
}

// eachElement calls f with the raw value of each element of the array b,
// until f returns an error.
func eachElement(b []byte, f func(value []byte) error) error {
	for i := skipSpace(b, skipSpace(b, 0)+1); b[i] != ']'; {
		end := skipValue(b, i)
		if err := f(b[i:end]); err != nil {
			return err
		}
		if i = skipSpace(b, end); b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return nil
}

// unquote returns what the JSON string raw, quotes included, stands for, in
// memory of its own. It fails on half of a surrogate pair, which no UTF-8 can
// express.
func unquote(raw []byte) (_ []byte, ok bool) {
	raw = raw[1 : len(raw)-1]
	out := make([]byte, 0, len(raw))
	start := 0
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			i++
			continue
		}
		out = append(out, raw[start:i]...)
		c := raw[i+1]
		i += 2
		switch c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
					return nil, false
				}
				if r = utf16.DecodeRune(r, hex4(raw[i+2:])); r == utf8.RuneError {
					return nil, false
				}
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a backslash or a slash, which stand for themselves
			out = append(out, c)
		}
		start = i
	}
	return append(out, raw[start:]...), true
}

// hex4 reads four hexadecimal digits, which b begins with.
func hex4(b []byte) rune {
	var unit [2]byte // of UTF-16
	hex.Decode(unit[:], b[:4])
	return rune(binary.BigEndian.Uint16(unit[:]))
}
