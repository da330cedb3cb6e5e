package ws

import (
	"strings"
	"testing"
)

// FuzzDecoder decodes any bytes whole, cut at every byte and byte by byte.
func FuzzDecoder(f *testing.F) {
	for _, in := range [][]byte{
		frames(fText+"hello", fPing+"p", fClose+"\x03\xe8bye"),
		frames(oText+"\xe2", fPing, oCont+"\x82", fCont+"\xac"),
		frames(oBin+strings.Repeat("a", 130), fCont+strings.Repeat("b", 126)),
		frames(fText+goodText+brokenStart, fText),
		frames(oText, oCont, oCont, oCont, oCont),
		[]byte("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcdefgh"),
		[]byte("\x81\x85\x00\x00\x00\x00hello\x89\x80\x00\x00\x00\x00"),
	} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 600 {
			return
		}
		decodeSplits(t, in, Limits{MaxMessage: 200, MaxFragments: 3})
	})
}

// FuzzDecoderFrames builds frames from the fuzzer's bytes, so that valid
// sequences are found quickly: for each frame a first byte, a length and a
// payload.
func FuzzDecoderFrames(f *testing.F) {
	f.Add([]byte("\x01\x02ab\x89\x00\x80\x01c"))
	f.Add([]byte("\x01\x01\xe2\x00\x01\x82\x80\x01\xac\x88\x02\x03\xe8"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 300 {
			return
		}
		var wire []byte
		for len(in) >= 2 {
			n := min(int(in[1]), len(in)-2)
			wire = append(wire, clientFrame(in[0], in[2:2+n], uint32(in[0])<<24|uint32(n)*0x010305)...)
			in = in[2+n:]
		}
		decodeSplits(t, wire, Limits{MaxMessage: 200, MaxFragments: 3})
	})
}
