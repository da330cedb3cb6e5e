package config

import (
	"fmt"
	"os"
	"strings"
)

// minKeyLen keeps somebody from guarding an API that is open to a network
// with a word that can be guessed.
const minKeyLen = 16

// checkKey never repeats the key.
func checkKey(key string) error {
	if n := len(key); n < minKeyLen {
		return fmt.Errorf("has %d characters; allowed are %d or more", n, minKeyLen)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("has a blank or a character outside ASCII; a bearer token has neither")
	}
	return nil
}

// AllKeys returns api.keys and the keys in the file api.keys_file. Errors tell
// a key by its line, never by its content.
func (a *API) AllKeys() ([]string, error) {
	var keys []string
	for _, key := range a.Keys {
		keys = append(keys, key.Reveal())
	}
	if a.KeysFile == "" {
		return keys, nil
	}
	data, err := os.ReadFile(a.KeysFile)
	if err != nil {
		return nil, fmt.Errorf("api.keys_file: %s: %s", a.KeysFile, reason(err))
	}
	if data, err = plainText(data); err != nil {
		return nil, fmt.Errorf("api.keys_file: %s: %w", a.KeysFile, err)
	}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := checkKey(line); err != nil {
			return nil, fmt.Errorf("api.keys_file: %s:%d: the key %w", a.KeysFile, i+1, err)
		}
		keys = append(keys, line)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("api.keys_file: %s: no key in it; at least one is needed", a.KeysFile)
	}
	return keys, nil
}
