package config

import (
	"strings"
	"testing"
)

func TestByteOrderMark(t *testing.T) {
	l, err := Load(Inputs{File: write(t, "\xef\xbb\xbfshards: 3\n")})
	if err != nil || l.Shards != 3 {
		t.Errorf("UTF-8: %v", err)
	}
	if l != nil && l.Sources["shards"].Column != 9 {
		t.Errorf("the value is said to be at column %d", l.Sources["shards"].Column)
	}
	for data, want := range map[string]string{
		"\xff\xfes\x00h\x00":            "c.yaml: begins with the byte order mark (BOM) of UTF-16, little endian; write it as UTF-8",
		"\xfe\xff\x00s\x00h":            "UTF-16, big endian",
		"\xff\xfe\x00\x00s\x00\x00\x00": "UTF-32, little endian",
		"\x00\x00\xfe\xff\x00\x00\x00s": "UTF-32, big endian",
	} {
		if err := Check("c.yaml", []byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", data, err, want)
		}
	}
}
