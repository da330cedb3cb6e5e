package load

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/spf13/pflag"

	"belfry/bench"
	"belfry/bench/tool"
)

// TestMain lets the test binary be the client processes of the tested runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "client" {
		if err := bench.RunClient(int(os.Stdin.Fd()), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Under the race detector every child would sleep for a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// fake is a server with belfry's API that makes one fault, only for user number
// 3.
type fake struct {
	fault string
	ipv6  bool

	mu       sync.Mutex // guards what follows
	sessions map[string][]net.Conn
	held     []byte // a frame that is late
	posts    int
	at       map[int]func() // what happens at a post
}

// defaults returns the options of a mode without flags.
func defaults(mode string) Options {
	o := Options{Mode: mode}
	tool.Flags(pflag.NewFlagSet(mode, pflag.ContinueOnError), &o, mode)
	return o
}

// valid checks options as the command does.
func valid(o *Options) error { return errors.Join(tool.CheckRanges(o, o.Mode), o.Validate()) }

// startFake returns options that reach a fake.
func startFake(t *testing.T, mode, fault string) Options {
	t.Helper()
	return (&fake{fault: fault}).start(t, mode)
}

// start returns options that reach it.
func (f *fake) start(t *testing.T, mode string) Options {
	t.Helper()
	f.sessions = make(map[string][]net.Conn)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", f.session)
	mux.HandleFunc("GET /echo", f.echo)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "# HELP x\nprocess_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 3.2e+07\n")
	})
	mux.HandleFunc("POST /v1/all", func(w http.ResponseWriter, r *http.Request) { f.post(w, r, "") })
	mux.HandleFunc("POST /v1/users/{uid}", func(w http.ResponseWriter, r *http.Request) { f.post(w, r, r.PathValue("uid")) })
	server := httptest.NewUnstartedServer(mux)
	o := defaults(mode)
	if f.ipv6 {
		server.Listener.Close()
		var err error
		if server.Listener, err = net.Listen("tcp", "[::1]:0"); err != nil {
			t.Fatal(err)
		}
		o.Target = "::1"
	}
	server.Start()
	t.Cleanup(server.Close)
	o.Ports = strconv.Itoa(server.Listener.Addr().(*net.TCPAddr).Port)
	o.Publish.API = server.URL
	o.Connections, o.Processes, o.Messages, o.Rounds = 40, 2, 5, 2
	o.Duration, o.Interval, o.Concurrency = 200e6, 0, 4
	o.Metrics = server.URL + "/metrics"
	return o
}

// hijack upgrades a connection. It calls register before the client gets the
// answer.
func hijack(w http.ResponseWriter, register func(net.Conn)) (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err == nil {
		register(c)
		_, err = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+bench.Accept+"\r\n\r\n")
	}
	return c, rw, err
}

func (f *fake) session(w http.ResponseWriter, r *http.Request) {
	uid := r.URL.Query().Get("uid")
	if f.fault == "refuse" && uid == bench.UID(3) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	f.mu.Lock() // no message overtakes the upgrade
	c, rw, err := hijack(w, func(c net.Conn) { f.sessions[uid] = append(f.sessions[uid], c) })
	f.mu.Unlock()
	if err != nil {
		return
	}
	go func() {
		io.Copy(io.Discard, rw)
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, other := range f.sessions[uid] {
			if other == c {
				f.sessions[uid] = append(f.sessions[uid][:i:i], f.sessions[uid][i+1:]...)
			}
		}
		c.Close()
	}()
}

// echo sends back what clients send, which is less than 64 KB.
func (f *fake) echo(w http.ResponseWriter, _ *http.Request) {
	c, rw, err := hijack(w, func(net.Conn) {})
	if err != nil {
		return
	}
	go func() {
		defer c.Close()
		for i := 0; ; i++ {
			var head [2]byte
			if _, err := io.ReadFull(rw, head[:]); err != nil {
				return
			}
			size := int(head[1] & 0x7f)
			if size == 126 {
				var long [2]byte
				io.ReadFull(rw, long[:])
				size = int(binary.BigEndian.Uint16(long[:]))
			}
			p := make([]byte, 4+size)
			if _, err := io.ReadFull(rw, p); err != nil {
				return
			}
			for j := range size {
				p[4+j] ^= p[j%4]
			}
			if f.fault != "drop" || i != 1 {
				c.Write(bench.AppendTextFrame(nil, p[4:]))
			}
		}
	}()
}

func (f *fake) post(w http.ResponseWriter, r *http.Request, uid string) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.posts++
	if do := f.at[f.posts]; do != nil {
		do()
	}
	if f.posts%7 == 5 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.Header.Get("Authorization") == "Bearer wrong" {
		http.Error(w, "the key is wrong", http.StatusUnauthorized)
		return
	}
	frame := bench.AppendTextFrame(nil, body)
	for user, conns := range f.sessions {
		if uid != "" && user != uid {
			continue
		}
		for _, c := range conns {
			if user == bench.UID(3) && c == conns[0] {
				f.deliver(c, frame)
			} else {
				c.Write(frame)
			}
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

// deliver delivers with the fault.
func (f *fake) deliver(c net.Conn, frame []byte) {
	switch f.fault {
	case "drop":
		if f.posts%3 == 0 {
			return
		}
	case "double":
		c.Write(frame)
	case "reorder":
		if f.held == nil {
			f.held = frame
			return
		}
		c.Write(frame)
		frame, f.held = f.held, nil
	case "damage":
		frame = slices.Clone(frame)
		frame[len(frame)-1] ^= 1
	case "mislead":
		if others := f.sessions[bench.UID(2)]; len(others) > 0 {
			others[0].Write(frame)
		}
	case "close":
		c.Close()
		return
	}
	c.Write(frame)
}
