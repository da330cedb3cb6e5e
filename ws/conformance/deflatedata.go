package conformance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// The data of the compression cases is generated from a fixed seed. It compresses
// about as well as the files of the suite.

// repeated calls add until there are n bytes.
func repeated(n int, add func(dst []byte, r *rand.Rand) []byte) []byte {
	r := rand.New(rand.NewPCG(12, 13))
	var b []byte
	for len(b) < n {
		b = add(b, r)
	}
	return b[:n]
}

func jsonText(n int) []byte {
	return repeated(n, func(b []byte, r *rand.Rand) []byte {
		return fmt.Appendf(b, `{"id": %d, "name": "%x", "active": %t, "tags": ["a", "b"], "position": {"x": %.3f, "y": %.3f}},`+"\n",
			r.IntN(1e6), r.Uint64(), r.IntN(2) == 0, r.Float64()*100, r.Float64()*100)
	})
}

// picture returns gray values that change slowly, with noise.
func picture(n int) []byte {
	level := 128
	return repeated(n, func(b []byte, r *rand.Rand) []byte {
		level = min(250, max(5, level+r.IntN(7)-3))
		return append(b, byte(level))
	})
}

func prose(n int) []byte {
	words := bytes.Fields([]byte("und der die Glöckner läutet über den Dächern zur Stunde, wenn niemand wacht; ein Ruf für tausend Ohren - hört ihn!"))
	return repeated(n, func(b []byte, r *rand.Rand) []byte {
		b = append(b, words[r.IntN(len(words))]...)
		if r.IntN(9) == 0 {
			return append(b, "\r\n"...)
		}
		return append(b, ' ')
	})
}

func page(n int) []byte {
	return repeated(n, func(b []byte, r *rand.Rand) []byte {
		return fmt.Appendf(b, `<tr class="row-%d"><td><a href="/item/%d">%x</a></td><td>%d</td></tr>`+"\n", r.IntN(2), r.IntN(1e5), r.Uint32(), r.IntN(1e3))
	})
}

// document returns data that is mostly compressed already, with some structure.
func document(n int) []byte {
	return repeated(n, func(b []byte, r *rand.Rand) []byte {
		b = fmt.Appendf(b, "\n%d 0 obj\n<< /Length 4000 /Filter /FlateDecode >>\nstream\n", r.IntN(1e4))
		for range 500 {
			x := r.Uint64()
			b = append(b, byte(x), byte(x>>8), byte(x>>16), byte(x>>24), byte(x>>32), byte(x>>40), byte(x>>48), byte(x>>56))
		}
		return append(b, "\nendstream\nendobj\n"...)
	})
}
