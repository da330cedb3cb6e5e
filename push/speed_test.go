package push

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"belfry/message"
)

// nowhere is a Publisher that costs nothing.
var nowhere = publisherFunc(func(m *message.Message) error { m.ID = "0123456789abcdef"; return nil })

// discard is a ResponseWriter that keeps nothing.
type discard struct {
	h      http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// body is a request body that can be read again.
type body struct{ strings.Reader }

func (*body) Close() error { return nil }

// named are keys with names.
func named(keys ...string) (all []Key) {
	for i, key := range keys {
		all = append(all, Key{fmt.Sprint("key", i), key})
	}
	return all
}

// pushOnce returns a function that handles one push to a user.
func pushOnce(tb testing.TB, keys ...string) func() {
	s, err := New(Options{Publisher: nowhere, Keys: named(keys...)})
	if err != nil {
		tb.Fatal(err)
	}
	h := s.Handler()
	r := httptest.NewRequest("POST", "http://localhost/v1/users/0123456789abcdef", nil)
	if len(keys) > 0 {
		r.Header.Set("Authorization", "Bearer "+keys[0])
	}
	const payload = `{"price":123.45,"symbol":"BELL"}`
	r.Header.Set("Content-Length", fmt.Sprint(len(payload)))
	b := new(body)
	r.Body, r.ContentLength = b, int64(len(payload))
	w := &discard{h: http.Header{}}
	return func() {
		b.Reset(payload)
		clear(w.h)
		h.ServeHTTP(w, r)
		if w.status != http.StatusAccepted {
			tb.Fatal(w.status)
		}
	}
}

// A push costs its message, its payload, the mux's match of the name, and
// nothing else of ours.
func TestPushAllocations(t *testing.T) {
	for _, tt := range []struct {
		keys []string
		most float64
	}{{nil, 3}, {[]string{"0123456789abcdef0123456789abcdef"}, 3}} {
		if n := testing.AllocsPerRun(1000, pushOnce(t, tt.keys...)); n > tt.most {
			t.Errorf("%v allocations a push with %d keys, want at most %v", n, len(tt.keys), tt.most)
		}
	}
}

func BenchmarkPush(b *testing.B) {
	push := pushOnce(b)
	b.ReportAllocs()
	for b.Loop() {
		push()
	}
}

var userLine = []byte(`{"to":{"user":"0123456789abcdef"},"json":{"price":123.45,"symbol":"BELL"}}`)

// A line costs its item, its payload, its name and the list of names.
func TestBatchLineAllocations(t *testing.T) {
	least := math.Inf(1) // of many: the pool may lose a decoder, under the race detector often
	for range 100 {
		least = min(least, testing.AllocsPerRun(1, func() {
			if _, p := parseItem(userLine, 1000); p != nil {
				t.Fatal(p.detail)
			}
		}))
	}
	if least > 4 {
		t.Errorf("%v allocations, want at most 4", least)
	}
}

func BenchmarkBatchLine(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(userLine)))
	for b.Loop() {
		if _, p := parseItem(userLine, 1000); p != nil {
			b.Fatal(p.detail)
		}
	}
}

// BenchmarkClients is pushes over 600 keep-alive connections, the clients
// being part of the process: pushes/s is what both ends reach together.
func BenchmarkClients(b *testing.B) {
	s, err := New(Options{Publisher: nowhere, Address: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		b.Fatal(err)
	}
	hs := s.httpServer(s.Handler())
	go hs.Serve(s.listeners[0])
	defer hs.Close()
	request := []byte("POST /v1/users/0123456789abcdef HTTP/1.1\r\nHost: localhost\r\nContent-Length: 32\r\n\r\n{\"price\":123.45,\"symbol\":\"BELL\"}")
	var conns []net.Conn
	for range 600 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var clients sync.WaitGroup
	b.ResetTimer()
	for _, c := range conns {
		clients.Go(func() {
			r := bufio.NewReaderSize(c, 512)
			for left.Add(-1) >= 0 {
				if _, err := c.Write(request); err != nil {
					b.Error(err)
					return
				}
				if err := skipAnswer(r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
}

// skipAnswer reads a 202 as cheaply as can be.
func skipAnswer(r *bufio.Reader) error {
	for n, first := 0, true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && string(line[9:12]) != "202" {
			return fmt.Errorf("answered %s", line)
		}
		if v, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			fmt.Sscan(v, &n)
		}
		if len(line) == 2 {
			_, err = io.CopyN(io.Discard, r, int64(n))
			return err
		}
	}
}
