package config

import (
	"fmt"
	"os"
	"strings"
)

// minKeyLen is the least length of a key, in characters, so that a key of an
// API that others can reach is hard to guess.
const minKeyLen = 16

// checkToken checks a key as a bearer token. It never repeats the key.
func checkToken(key string) error {
	if n := len(key); n < minKeyLen {
		return fmt.Errorf("has %d characters; allowed are %d or more", n, minKeyLen)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("has a blank or a character outside ASCII; a bearer token has neither")
	}
	return nil
}

// Key is an API key with its name for metrics and logs, "" if it has none.
type Key struct {
	Name string
	Key  Secret
}

// maxKeyName bounds the length of a key's name, which is a label of metrics.
const maxKeyName = 32

// parseKey reads name:KEY or KEY. A bearer token has no colon (RFC 6750 §2.1),
// so the first one ends a name. Errors repeat neither part, because the part
// before the colon may belong to a key.
func parseKey(text string) (Key, error) {
	name, key, named := strings.Cut(text, ":")
	if !named {
		name, key = "", text
	}
	if err := checkToken(key); err != nil {
		return Key{}, err
	}
	switch {
	case !named:
	case len(name) < 1 || len(name) > maxKeyName || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}):
		return Key{}, fmt.Errorf("has a colon, and the part before it is not a name; a name is 1 to %d of a-z 0-9 . - _", maxKeyName)
	case name == "none" || name == "unnamed":
		return Key{}, fmt.Errorf("has the name %s, which metrics use for requests without a name; allowed is any other name", name)
	}
	return Key{name, Secret(key)}, nil
}

// keyList is a list of keys whose names differ.
type keyList []Key

// add reads one more key. Its errors continue "the key …".
func (l *keyList) add(text string) error {
	key, err := parseKey(text)
	if err != nil {
		return err
	}
	for _, other := range *l {
		if key.Name != "" && key.Name == other.Name {
			return fmt.Errorf("has the name %s, which another key has; allowed are names that differ", key.Name)
		}
	}
	*l = append(*l, key)
	return nil
}

// AllKeys returns api.keys and the keys in the file api.keys_file. Errors name
// a key by its line, never by its content.
func (a *API) AllKeys() ([]Key, error) {
	var keys keyList
	for i, key := range a.Keys {
		if err := keys.add(key.Reveal()); err != nil {
			return nil, fmt.Errorf("api.keys: key %d %w", i+1, err)
		}
	}
	if a.KeysFile == "" {
		return keys, nil
	}
	data, err := os.ReadFile(a.KeysFile)
	if err != nil {
		return nil, fmt.Errorf("api.keys_file: %s: %s", a.KeysFile, openError(err))
	}
	if data, err = plainText(data); err != nil {
		return nil, fmt.Errorf("api.keys_file: %s: %w", a.KeysFile, err)
	}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := keys.add(line); err != nil {
			return nil, fmt.Errorf("api.keys_file: %s:%d: the key %w", a.KeysFile, i+1, err)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("api.keys_file: %s: no key in it; at least one is needed", a.KeysFile)
	}
	return keys, nil
}
