package figures

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/tool"
)

// TestMain lets the test binary be the programs that it starts: client, floor,
// and a server with belfry's flags and API.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "client", "floor":
			root := &cobra.Command{}
			root.AddCommand(tool.ClientCommand(), tool.FloorCommand())
			if err := root.Execute(); err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		case "serve":
			if err := fakeCommand().Execute(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	// Under the race detector every child would sleep for a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// fake is a server with a small part of belfry's API. FAKE_FAULT names a fault
// that it makes.
type fake struct {
	mu       sync.Mutex
	sessions map[string]fakeSession
	pushes   int
	passes   int
	fault    string
	sent     int
}

func fakeCommand() *cobra.Command {
	var listen, api string
	root := &cobra.Command{Use: "fake"}
	serve := &cobra.Command{Use: "serve", RunE: func(*cobra.Command, []string) error {
		return (&fake{sessions: map[string]fakeSession{}, fault: os.Getenv("FAKE_FAULT")}).run(listen, api)
	}}
	serve.Flags().StringVar(&listen, "listen", "", "")
	serve.Flags().StringVar(&api, "api", "", "")
	serve.Flags().Bool("dev", false, "")
	serve.Flags().Int("shards", 0, "")
	serve.Flags().String("log-level", "", "")
	serve.Flags().StringArray("set", nil, "")
	root.AddCommand(serve)
	return root
}

func (f *fake) run(listen, api string) error {
	if f.fault == "start" {
		return fmt.Errorf("a reason not to start")
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {})
	mux.HandleFunc("POST /v1/all", func(w http.ResponseWriter, r *http.Request) { f.push(w, r, "") })
	mux.HandleFunc("POST /v1/users/{uid}", func(w http.ResponseWriter, r *http.Request) { f.push(w, r, r.PathValue("uid")) })
	mux.HandleFunc("GET /v1/stats", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		fmt.Fprintf(w, `{"fanout_passes":%d,"push_latency":{"count":%d,"p50_us":1000,"p99_us":2000,"p999_us":3000}}`, f.passes, f.pushes)
	})
	go http.Serve(l, http.HandlerFunc(f.upgrade))
	if d, err := time.ParseDuration(os.Getenv("BELFRY_SESSION_PING_INTERVAL")); err == nil {
		go func() {
			for range time.Tick(d) {
				f.write(nil, "")
			}
		}()
	}
	return http.ListenAndServe(api, mux)
}

func (f *fake) upgrade(w http.ResponseWriter, r *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + bench.Accept + "\r\n"
	s := fakeSession{Conn: c, frame: textFrame}
	switch {
	case r.URL.Path == "/sse":
		head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
		s.frame = event
	case r.Header.Get("Sec-WebSocket-Extensions") != "":
		head += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"
		s.frame = deflatedFrame
	}
	f.mu.Lock()
	f.sessions[r.URL.Query().Get("uid")] = s
	f.mu.Unlock()
	io.WriteString(c, head+"\r\n")
	go io.Copy(io.Discard, bufio.NewReaderSize(c, 64))
}

func (f *fake) push(w http.ResponseWriter, r *http.Request, uid string) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.ContentLength != int64(len(body)) || len(body) == documentSize && !json.Valid(body) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.sent++
	busy := f.sent%7 == 0
	f.mu.Unlock()
	if busy { // the push must be repeated
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	f.write(body, uid)
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"id":"x"}`)
}

// write sends a payload to one or all sessions; nil is a ping.
func (f *fake) write(payload []byte, uid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if uid != "" {
		f.pushes++
		f.sessions[uid].send(payload)
		return
	}
	f.passes++
	for uid, c := range f.sessions {
		if uid == bench.UID(3) && payload != nil {
			switch f.fault {
			case "double":
				c.send(payload)
			case "close":
				c.Close()
				continue
			}
		}
		c.send(payload)
	}
}

// fakeSession is a client of the fake, and how payloads are framed for it.
type fakeSession struct {
	net.Conn
	frame func(payload []byte) []byte
}

func (s fakeSession) send(payload []byte) { s.Write(s.frame(payload)) }

func textFrame(payload []byte) []byte {
	if payload == nil {
		return []byte{0x89, 0}
	}
	return bench.AppendTextFrame(nil, payload)
}

func deflatedFrame(payload []byte) []byte {
	if payload == nil {
		return textFrame(nil)
	}
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 1)
	w.Write(payload)
	w.Flush()
	frame := bench.AppendTextFrame(nil, bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
	frame[0] |= 0x40
	return frame
}

func event(payload []byte) []byte {
	if payload == nil {
		return []byte(":\n")
	}
	return fmt.Appendf(nil, "id: 1\ndata: %s\n\n", payload)
}
