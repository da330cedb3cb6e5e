package auth

import (
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// What the library has signed is valid, in any order and from several goroutines, and
// nothing else is.
func TestMAC(t *testing.T) {
	other := append([]byte("another "), secret...)
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
		m := newMAC(method, secret)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for _, text := range []string{"", "a", "a.b", "a longer text than the block of each of these hashes, which has 64 or 128 bytes, so that it is cut into two blocks"} {
					good, _ := method.Sign(text, secret)
					wrong, _ := method.Sign(text, other)
					if !m.verify([]byte(text), good) {
						t.Errorf("%s: %q is refused", method.Alg(), text)
					}
					for what, signature := range map[string][]byte{"another key": wrong, "nothing": nil, "a part": good[:16], "more": append(good, 0)} {
						if m.verify([]byte(text), signature) {
							t.Errorf("%s: %s signs %q", method.Alg(), what, text)
						}
					}
					if m.verify([]byte(text+"x"), good) {
						t.Errorf("%s: the signature of another text is valid", method.Alg())
					}
				}
			})
		}
		all.Wait()
	}
	if newMAC(jwt.SigningMethodES256, secret) != nil || newMAC(jwt.SigningMethodHS256, private()["RS256"].Public()) != nil {
		t.Error("an HMAC without a secret")
	}
}
