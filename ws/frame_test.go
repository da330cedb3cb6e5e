package ws

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	gobwas "github.com/gobwas/ws"
)

// TestFramesAgainstGobwas writes frames of every length class and has gobwas
// write and read the same.
func TestFramesAgainstGobwas(t *testing.T) {
	for _, op := range []gobwas.OpCode{gobwas.OpText, gobwas.OpBinary, gobwas.OpPing, gobwas.OpPong, gobwas.OpClose, gobwas.OpContinuation} {
		for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
			payload := bytes.Repeat([]byte("p"), n)
			got := AppendFrame([]byte("x"), OpCode(op), payload)[1:]
			want, err := gobwas.CompileFrame(gobwas.NewFrame(op, true, payload))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("opcode %d, %d bytes: header % x, want % x", op, n, got[:len(got)-n], want[:len(want)-n])
			}
			if unfinished := AppendHeader(nil, OpCode(op), false, n); unfinished[0] != byte(op) {
				t.Errorf("FIN in % x", unfinished)
			}
		}
	}
}

func TestAppendClose(t *testing.T) {
	long := strings.Repeat("x", 200)
	tests := []struct {
		code   uint16
		reason string
		want   string // payload
	}{
		{0, "ignored", ""},
		{CloseNoStatus, "", ""},
		{1000, "", "\x03\xe8"},
		{4004, "too slow", "\x0f\xa4too slow"},
		{1000, long, "\x03\xe8" + long[:123]},
		{1000, long[:122] + "é", "\x03\xe8" + long[:122]},
		{1000, long[:121] + "é", "\x03\xe8" + long[:121] + "é"},
		{1000, long[:120] + "𝄞", "\x03\xe8" + long[:120]},
		{1000, long[:119] + "𝄞x", "\x03\xe8" + long[:119] + "𝄞"},
	}
	for _, tt := range tests {
		//lint:ignore SA1019 the frame is ours, so its length is no stranger's
		f, err := gobwas.ReadFrame(bytes.NewReader(AppendClose(nil, tt.code, tt.reason)))
		if err != nil {
			t.Fatal(err)
		}
		if f.Header.OpCode != gobwas.OpClose || !f.Header.Fin || string(f.Payload) != tt.want || !utf8.Valid(f.Payload[min(2, len(f.Payload)):]) {
			t.Errorf("AppendClose(%d, %q) has payload %q, want %q", tt.code, tt.reason, f.Payload, tt.want)
		}
	}
}

func TestCloseCodes(t *testing.T) {
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		if !ValidCloseCode(code) {
			t.Errorf("%d refused", code)
		}
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		if ValidCloseCode(code) {
			t.Errorf("%d accepted", code)
		}
	}
}

// FuzzFrameRoundTrip writes a frame, masks it as a client would and decodes
// it.
func FuzzFrameRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), true, uint32(0x01020304))
	f.Add(bytes.Repeat([]byte{0xff}, 200), false, uint32(0))
	f.Add(bytes.Repeat([]byte("é"), 40000), true, uint32(0xdeadbeef))
	f.Fuzz(func(t *testing.T, payload []byte, text bool, mask uint32) {
		op := OpBinary
		if text && utf8.Valid(payload) {
			op = OpText
		}
		server := AppendFrame(nil, op, payload)
		//lint:ignore SA1019 the frame is ours, so its length is no stranger's
		read, err := gobwas.ReadFrame(bytes.NewReader(server))
		if err != nil || !bytes.Equal(read.Payload, payload) {
			t.Fatalf("gobwas reads %q, %v", read.Payload, err)
		}
		p := clientFrame(byte(op)|finBit, payload, mask)
		n, ev, err := Next(p, nil, Limits{MaxMessage: 1 << 20})
		if err != nil || n != len(p) || ev.Type != EventMessage || ev.Op != op || !bytes.Equal(ev.Payload, payload) {
			t.Fatalf("Next = %d, %+v, %v", n, ev, err)
		}
	})
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := make([]byte, 128)
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrame(dst[:0], OpText, payload)
	}
}
