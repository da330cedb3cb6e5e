package auth

import (
	"runtime"
	"strings"
	"testing"
)

// A JWK set of the largest size with very many keys is refused before its keys take
// memory: each would take 400 bytes for the three bytes that it has in JSON.
func TestManySmallKeys(t *testing.T) {
	text := []byte(`{"keys":[{}` + strings.Repeat(",{}", maxKeyFile/3-10) + `]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readJWKS(text, false, nil)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "allowed are 1 to 128") {
		t.Error(err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("%d MiB for a JWK set of %d KiB", took>>20, len(text)>>10)
	}
}
