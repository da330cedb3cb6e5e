package push

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func readAll(src io.Reader, most, buf int) (lines []string, err error) {
	r := lineReader{src: src, max: most, buf: make([]byte, buf), beforeRead: func() {}, beforeLine: func() {}}
	for {
		line, err := r.next()
		switch err {
		case nil:
			lines = append(lines, string(line))
		case errLineTooLong:
			lines = append(lines, "<long>")
		default:
			return lines, err
		}
	}
}

func TestLines(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"a", "a"},
		{"a\n", "a"},
		{"a\r\nb\n", "a|b"},
		{"a\n\nb", "a||b"},
		{"12345\n123456\n12345", "12345|<long>|12345"},
		{strings.Repeat("x", 50) + "\nb", "<long>|b"},
		{strings.Repeat("x", 50), "<long>"},
		{"123456", "<long>"},
		{strings.Repeat("x", 50) + "\n" + strings.Repeat("y", 50) + "\n", "<long>|<long>"},
	}
	for _, tt := range tests {
		for name, src := range map[string]io.Reader{
			"whole": strings.NewReader(tt.in), "bytes": iotest.OneByteReader(strings.NewReader(tt.in)),
			"with error": iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			for _, buf := range []int{1, 7, 64} {
				lines, err := readAll(src, 5, buf)
				if got := strings.Join(lines, "|"); got != tt.want || err != io.EOF {
					t.Errorf("%q (%s, %d): %q %v, want %q", tt.in, name, buf, got, err, tt.want)
				}
				if s, ok := src.(*strings.Reader); ok {
					s.Reset(tt.in)
				} else {
					break
				}
			}
		}
	}
}

func TestBrokenLineIsNotReturned(t *testing.T) {
	broken := errors.New("reset")
	lines, err := readAll(io.MultiReader(strings.NewReader("a\nhalf"), iotest.ErrReader(broken)), 10, 16)
	if strings.Join(lines, "|") != "a" || err != broken {
		t.Errorf("%q %v", lines, err)
	}
	if _, err := readAll(stuck{}, 10, 16); err != io.ErrNoProgress {
		t.Errorf("%v from a reader without progress", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// The buffer for a long line does not grow beyond the limit and lineSlack.
func TestLongLineIsNotCollected(t *testing.T) {
	r := lineReader{src: io.LimitReader(zeros{}, 10<<20), max: 1000, buf: make([]byte, 64), beforeRead: func() {}, beforeLine: func() {}}
	if _, err := r.next(); err != errLineTooLong {
		t.Fatal(err)
	}
	if _, err := r.next(); err != io.EOF || len(r.buf) > 8192 {
		t.Errorf("%v with a buffer of %d", err, len(r.buf))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nbb\r\n\nccccccccc\nd"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, split uint8) {
		var want []string
		rest := in
		for len(rest) > 0 {
			line, after, _ := bytes.Cut(rest, []byte("\n"))
			rest = after
			if len(line) > 6 {
				want = append(want, "<long>")
			} else if len(rest) == 0 && in[len(in)-1] != '\n' {
				want = append(want, string(line))
			} else {
				want = append(want, strings.TrimSuffix(string(line), "\r"))
			}
		}
		at := min(int(split), len(in))
		got, err := readAll(io.MultiReader(bytes.NewReader(in[:at]), bytes.NewReader(in[at:])), 6, 4)
		if err != io.EOF || strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q at %d: %q %v, want %q", in, at, got, err, want)
		}
	})
}
