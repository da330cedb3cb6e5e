package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// maxKeys is the most keys of a JWK set. Providers publish two to twelve.
const maxKeys = 128

// readJWKS returns the keys of a JWK set (RFC 7517 §5) that verify signatures with
// one of the allowed algorithms (nil: all). Other keys are skipped, as §5 demands of
// key types that are not understood; if nothing is left, the error names the reason
// of the last one. secrets says whether symmetric keys are taken: a set that was
// published must not have any.
func readJWKS(data []byte, secrets bool, allowed []string) ([]*key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"` // one is read after their number is known: a small key in JSON is large in memory
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("not a JWK set: %w", withoutInput(err))
	}
	if n := len(set.Keys); n > maxKeys {
		return nil, fmt.Errorf("%d keys; allowed are 1 to %d", n, maxKeys)
	}
	var keys []*key
	why := errors.New(`no keys in it; a JWK set is {"keys":[…]}`)
	for i, text := range set.Keys {
		k, err := readJWK(text, secrets, allowed)
		if err != nil {
			why = fmt.Errorf("no usable key in it; key %d: %w", i+1, err)
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, why
	}
	return keys, nil
}

// withoutInput returns an error of encoding/json that repeats nothing of its input,
// which may be a secret.
func withoutInput(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("no valid JSON at byte %d", syntax.Offset)
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("a value of the wrong type at byte %d", kind.Offset)
	}
	return errors.New("no valid JSON")
}

// Values of JSON Web Keys that say what a key is for (RFC 7517 §4.2, §4.3).
const (
	useSignature = "sig"
	opVerify     = "verify"
)

func readJWK(text []byte, secrets bool, allowed []string) (*key, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, withoutInput(err)
	}
	switch {
	case m.USE != "" && string(m.USE) != useSignature:
		return nil, errors.New("not for signatures (use)")
	case len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KEYOPS(opVerify)):
		return nil, errors.New("not for verification (key_ops)")
	case m.KTY == jwkset.KtyOct && !secrets:
		return nil, errors.New("a symmetric key in a set that was published; give it as auth.jwt.secret")
	}
	m.X5C, m.X5U, m.X5T, m.X5TS256 = nil, "", "", "" // the key itself counts; nothing is fetched
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: m.KTY == jwkset.KtyOct}, jwkset.JWKValidateOptions{SkipAll: true})
	if err != nil {
		return nil, fmt.Errorf("not a valid key of the type %.16q", string(m.KTY))
	}
	return newKey(m.KID, string(m.ALG), jwk.Key(), allowed)
}
