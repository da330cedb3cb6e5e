package bridge

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// newTestPair returns a pair of no connection, and the shard's end of it. Nobody takes
// the place of a goroutine that waits.
func newTestPair(t *testing.T) (p *pair, shard *os.File) {
	p, fd, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	p.writer = &direction{detached: true}
	shard = os.NewFile(uintptr(fd), "shard")
	t.Cleanup(func() { p.close(); shard.Close() })
	return p, shard
}

// What does not fit into the pair at once is written later, in its order.
func TestPairWritesAll(t *testing.T) {
	p, shard := newTestPair(t)
	sent := make([]byte, 1<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	done := make(chan error, 1)
	go func() {
		err := p.write(sent)
		p.closeWrite()
		done <- err
	}()
	got, err := io.ReadAll(shard)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes, or other ones: %v", len(got), len(sent), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A pair that waits for its shard holds no buffer: most connections wait most of the
// time. What fills a small buffer has the next one be large.
func TestPairHoldsNoBuffer(t *testing.T) {
	p, shard := newTestPair(t)
	if err := unix.SetNonblock(int(p.file.Fd()), true); err != nil {
		t.Fatal(err)
	}
	if buf, n, err := p.read(); err != errAgain || n != 0 || buf != nil || p.buf != nil {
		t.Errorf("%d bytes and a buffer %v are held: %v", n, p.buf, err)
	}
	for _, step := range []struct{ sends, reads, next int }{
		{100, 100, smallBuffer}, {smallBuffer + 1, smallBuffer, largeBuffer}, {0, 1, smallBuffer},
	} {
		if _, err := shard.Write(make([]byte, step.sends)); err != nil {
			t.Fatal(err)
		}
		buf, n, err := p.read()
		if err != nil || n != step.reads || p.size != step.next || p.buf != nil {
			t.Errorf("%+v: %d bytes, the next buffer has %d: %v", step, n, p.size, err)
		}
		giveBuffer(buf)
	}
}
