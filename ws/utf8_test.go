package ws

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestUTF8FailsEarly checks where each text is given up, in one piece and byte
// by byte: at the first byte after which it cannot become valid.
func TestUTF8FailsEarly(t *testing.T) {
	tests := []struct {
		text string
		bad  int  // index of the byte it fails at, -1: none
		open bool // ends within a rune
	}{
		{"", -1, false},
		{"plain", -1, false},
		{"κόσμε €𝄞", -1, false},
		{"\xc2", -1, true},
		{"\xe2\x82", -1, true},
		{"\xf4\x8f\xbf", -1, true},
		{"\xf4\x8f\xbf\xbf", -1, false}, // U+10FFFF
		{"\xed\x9f\xbf", -1, false},     // U+D7FF
		{"\xee\x80\x80", -1, false},     // U+E000
		{"\xef\xbf\xbf", -1, false},     // U+FFFF
		{"\xe0\xa0\x80", -1, false},     // U+0800
		{"\xf0\x90\x80\x80", -1, false}, // U+10000
		{"\x80", 0, false},
		{"\xbf", 0, false},
		{"\xc0", 0, false},
		{"\xc1", 0, false},
		{"\xf5", 0, false},
		{"\xff", 0, false},
		{"ab\xfe", 2, false},
		{"\xe0\x80", 1, false},      // overlong
		{"\xe0\x9f", 1, false},      // overlong
		{"\xed\xa0", 1, false},      // surrogate
		{"\xf0\x80", 1, false},      // overlong
		{"\xf0\x8f", 1, false},      // overlong
		{"\xf4\x90", 1, false},      // beyond U+10FFFF
		{"\xc2A", 1, false},         // cut short
		{"\xe2\x82A", 2, false},     // cut short
		{"\xf0\x9f\x98A", 3, false}, // cut short
		{"\xc2\xc2", 1, false},
		{"aé\x80", 3, false},
		{strings.Repeat("x", 100) + "\xf4\x90" + strings.Repeat("y", 100), 101, false},
		{strings.Repeat("é", 100) + "\xe2\x82", -1, true},
	}
	for _, tt := range tests {
		var whole utf8State
		if got := whole.check([]byte(tt.text)); got != tt.bad {
			t.Errorf("%q fails at %d, want %d", tt.text, got, tt.bad)
		} else if got < 0 && whole.complete() == tt.open {
			t.Errorf("%q: complete = %v", tt.text, whole.complete())
		}
		var bytewise utf8State
		got := -1
		for i := 0; i < len(tt.text) && got < 0; i++ {
			if bytewise.check([]byte(tt.text[i:i+1])) == 0 {
				got = i
			}
		}
		if got != tt.bad {
			t.Errorf("%q byte by byte fails at %d, want %d", tt.text, got, tt.bad)
		}
	}
}

// FuzzUTF8 compares every split into three pieces with utf8.Valid, and the place of
// the failure with checking byte by byte.
func FuzzUTF8(f *testing.F) {
	for _, s := range []string{"", "κόσμε €𝄞", "\xf4\x90", "\xed\xa0\x80", "a\xe0\x80b", "\xf0\x9f\x98", strings.Repeat("𝄞", 20) + "\xc0"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 60 {
			return
		}
		want, at := -1, utf8State{}
		for i := 0; i < len(p) && want < 0; i++ {
			if !at.step(p[i]) {
				want = i
			}
		}
		if valid := want < 0 && at.complete(); valid != utf8.Valid(p) {
			t.Fatalf("%q: valid = %v", p, valid)
		}
		if want >= 0 {
			// Early enough: before the byte at fault something could follow.
			if !canBecomeValid(p[:want]) || canBecomeValid(p[:want+1]) {
				t.Fatalf("%q fails at %d", p, want)
			}
		}
		for i := 0; i <= len(p); i++ {
			for j := i; j <= len(p); j++ {
				var s utf8State
				got, base := -1, 0
				for _, piece := range [][]byte{p[:i], p[i:j], p[j:]} {
					if bad := s.check(piece); bad >= 0 {
						got = base + bad
						break
					}
					base += len(piece)
				}
				if got != want || got < 0 && s.complete() != at.complete() {
					t.Fatalf("%q in pieces at %d and %d fails at %d, want %d", p, i, j, got, want)
				}
			}
		}
	})
}

// canBecomeValid tries a few continuations, which is enough: a rune that was
// begun can be ended with bytes from the ends of the ranges.
func canBecomeValid(p []byte) bool {
	ends := []string{"", "\x80", "\xbf", "\x80\x80", "\xa0\x80", "\x90\x80\x80", "\x80\x80\x80"}
	for _, end := range ends {
		if utf8.Valid(append(bytes.Clone(p), end...)) {
			return true
		}
	}
	return false
}

func BenchmarkUTF8(b *testing.B) {
	for name, text := range map[string]string{
		"ascii": strings.Repeat("x", 64<<10), "greek": strings.Repeat("κόσμε ", 64<<10/11),
	} {
		b.Run(name, func(b *testing.B) {
			p := []byte(text)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				var s utf8State
				if s.check(p) >= 0 {
					b.Fatal("not valid")
				}
			}
		})
	}
}
