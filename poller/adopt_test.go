package poller

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Goroutines take accepted connections from two shards at the first line of one
// kind, answer, and give them back: each client gets every answer once, and no
// descriptor stays.
func TestDetachAndBack(t *testing.T) {
	const clients, rounds = 16, 20
	var r *rig
	own := func(shard int, sock Socket) {
		if err := answerOutside(&sock); err != nil {
			t.Error(err)
		}
		for err := r.Adopt(1-shard, sock); err != nil; err = r.Adopt(1-shard, sock) {
			if err != ErrMailboxFull {
				t.Error(err)
				unix.Close(sock.FD)
				return
			}
		}
	}
	r = newRig(t, Options{Mailbox: 8}, func(h *echoHandler) {
		h.mail = runMail
		h.data = func(s *Shard, slot uint32, p []byte) int {
			i := bytes.IndexByte(p, '\n') + 1
			if i == 0 {
				return 0
			}
			s.Send(slot, Bytes(p[:i]), Data) // still staged when Detach comes
			sock, ok := s.Detach(slot, p[i:])
			if !ok {
				t.Error("Detach refused")
				return len(p)
			}
			go own(s.Index(), sock)
			return 0
		}
	})
	before := r.descriptors(t)
	var wg sync.WaitGroup
	for range clients {
		c := r.dial()
		wg.Go(func() {
			defer c.Close()
			for n := range rounds {
				line := fmt.Sprintf("line %d\n", n)
				io.WriteString(c, line+line[:4])
				io.WriteString(c, line[4:])
				got := make([]byte, 2*len(line)+1)
				if m, err := io.ReadFull(c, got); err != nil || string(got) != line+">"+line {
					t.Errorf("got %q, %v", got[:m], err)
					return
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all closed", func() bool { st := r.Stats(); return st.Connections == 0 && st.Closed == clients })
	st := r.Stats()
	if n := uint64(clients * rounds); st.Accepted != clients || st.Detached != n || st.Adopted != n || st.AcceptRefused != 0 || st.Panics != 0 {
		t.Errorf("%+v", st)
	}
	if h := r.handlers; h[0].closed.Load()+h[1].closed.Load() != clients {
		t.Errorf("%d and %d calls of OnClose", h[0].closed.Load(), h[1].closed.Load())
	}
	eventually(t, "descriptors closed", func() bool { return openDescriptors(t) == before })
}

// answerOutside reads one line from a detached socket, unread bytes first, and
// answers it with ">" in front.
func answerOutside(sock *Socket) error {
	if err := unix.SetNonblock(sock.FD, false); err != nil {
		return err
	}
	if err := unix.SetsockoptTimeval(sock.FD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}); err != nil {
		return err // a test that fails does not wait for ever
	}
	line := sock.Unread
	for p := make([]byte, 100); bytes.IndexByte(line, '\n') < 0; {
		n, err := unix.Read(sock.FD, p)
		if n <= 0 {
			return fmt.Errorf("read outside: %d, %v", n, err)
		}
		line = append(line, p[:n]...)
	}
	i := bytes.IndexByte(line, '\n') + 1
	sock.Unread = line[i:]
	_, err := unix.Write(sock.FD, append([]byte(">"), line[:i]...))
	return err
}

// A socket that comes with CloseWrite is shut down for writing behind its unsent
// bytes, and is read until the client ends it.
func TestAdoptCloseWrite(t *testing.T) {
	for _, unsent := range []string{"", "the last word", strings.Repeat("many words ", 10_000)} {
		r := detachRig(t, Options{})
		ours, peer := socketPair(t)
		client := fileConn(t, peer)
		id := r.adopt(0, Socket{FD: ours, Unsent: []byte(unsent), CloseWrite: true})
		var late SendResult
		r.on(0, func(s *Shard) { late = s.sendNow(id.Slot(), Bytes([]byte("late")), Data) })
		got, err := io.ReadAll(client)
		if err != nil || string(got) != unsent || late != sendClosed {
			t.Errorf("got %d bytes, %v, want %d; a late send: %d", len(got), err, len(unsent), late)
		}
		io.WriteString(client, "heard")
		r.unread(t, id, len("heard"))
	}
}

// As many unread bytes as a connection can leave come through Adopt, and no more.
func TestAdoptUnread(t *testing.T) {
	r := detachRig(t, Options{})
	r.handlers[0].data = func(s *Shard, slot uint32, p []byte) int {
		s.Pause(slot) // so that it may leave that many
		return 0
	}
	for _, n := range []int{MaxUnread + 1, scratchSize, scratchSize + 1} {
		ours, peer := socketPair(t)
		fileConn(t, peer)
		if n > scratchSize {
			if err := r.Adopt(0, Socket{FD: ours, Unread: make([]byte, n)}); err == nil {
				t.Errorf("%d bytes were taken", n)
			}
			unix.Close(ours)
			continue
		}
		id := r.adopt(0, Socket{FD: ours, Unread: bytes.Repeat([]byte("x"), n)})
		r.unread(t, id, n)
		r.on(0, func(s *Shard) {
			sock, ok := s.Detach(id.Slot(), nil)
			if !ok || len(sock.Unread) != n {
				t.Errorf("%d bytes came back of %d", len(sock.Unread), n)
			}
			unix.Close(sock.FD)
		})
	}
}
