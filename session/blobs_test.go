package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"belfry/offheap"
)

func TestBlobs(t *testing.T) {
	strs, err := offheap.NewStrs(new(offheap.Owner), 64)
	if err != nil {
		t.Fatal(err)
	}
	defer strs.Close()
	b := blobs{strs: strs}
	kept := map[offheap.Str][]byte{}
	for i := range 3000 {
		n := rand.IntN(1200)
		if i%3 == 0 { // around the borders of chains
			n = (blobHead*rand.IntN(5) + blobPart + rand.IntN(5) - 2) % 1200
		}
		p := bytes.Repeat([]byte{byte(i)}, n)
		copy(p, fmt.Sprint(i))
		s, err := b.put(p)
		if err == nil {
			kept[s] = p
		}
		for s, want := range kept {
			if got := b.get(s); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes came back as %d", len(want), len(got))
			}
			if err != nil || rand.IntN(20) == 0 {
				b.free(s)
				delete(kept, s)
			}
		}
	}
	for s := range kept {
		b.free(s)
	}
	if n := strs.Len(); n != 0 {
		t.Errorf("%d strings are left", n)
	}
	if s, err := b.put(nil); s != 0 || err != nil || len(b.get(0)) != 0 {
		t.Errorf("nothing is %d, %v", s, err)
	}
}
