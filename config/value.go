package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Size is a number of bytes, written "64KiB", "1MiB" or as a plain number.
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// sizeUnits are the units of ParseSize, the largest first.
var sizeUnits = [...]struct {
	name string
	n    Size
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// String writes s with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.n == 0 && u.n > 1 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

var errSize = errors.New(`not a size; sizes are written like 65536, "64KiB", "1MiB" or "2GiB"`)

// ParseSize reads a whole, non-negative number of bytes, KiB, MiB, GiB or TiB.
// The decimal units (kB, MB) are refused, because users mean different things
// by them.
func ParseSize(text string) (Size, error) {
	digits, unit := text, Size(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.n
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > uint64(math.MaxInt64/unit) {
		return 0, errSize
	}
	return Size(n) * unit, nil
}

var errDuration = errors.New(`not a duration; durations are written like "300us", "5s", "1m30s", or 0`)

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text) // accepts "0" without a unit, but no other number
	if err != nil || d < 0 {
		return 0, errDuration
	}
	return d, nil
}

// formatDuration writes d without the zero parts of Duration.String
// ("24h0m0s").
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return strings.Replace(text, "µs", "us", 1)
}

// Redacted is shown instead of a secret.
const Redacted = "[redacted]"

// CleanSecret reads a secret from any source. A newline at the end, as in a
// file, is not part of it. Any other control character is an error here,
// because a server could only report a wrong password. The error does not
// repeat the secret.
func CleanSecret(text string) (string, error) {
	text = strings.TrimRight(text, "\r\n")
	if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
		return "", fmt.Errorf("has a control character at byte %d; a secret may have none except a newline at its end", i+1)
	}
	return text, nil
}

// Secret is a text that formatting verbs, encoders and loggers do not show.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Redacted
}

// GoString keeps %#v from showing the secret.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalText keeps encoders from showing the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
