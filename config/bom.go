package config

import (
	"bytes"
	"errors"
)

// plainText returns a text file without the byte order mark that some editors
// put before UTF-8. It refuses the other encodings of Unicode.
func plainText(data []byte) ([]byte, error) {
	if text, marked := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); marked {
		return text, nil
	}
	// UTF-32 comes first: its little-endian mark begins with that of UTF-16.
	for _, other := range [...]struct{ mark, name string }{
		{"\xff\xfe\x00\x00", "UTF-32, little endian"}, {"\x00\x00\xfe\xff", "UTF-32, big endian"},
		{"\xff\xfe", "UTF-16, little endian"}, {"\xfe\xff", "UTF-16, big endian"},
	} {
		if bytes.HasPrefix(data, []byte(other.mark)) {
			return nil, errors.New("begins with the byte order mark (BOM) of " + other.name + "; write it as UTF-8, with or without one")
		}
	}
	return data, nil
}
