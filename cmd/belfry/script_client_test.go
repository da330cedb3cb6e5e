package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// clientOptions are the flags of the commands http and ws.
type clientOptions struct {
	header         http.Header
	body, protocol string
	mute, headers  bool
}

// clientFlags removes flags from the arguments.
func clientFlags(ts *testscript.TestScript, args []string) (rest []string, o clientOptions) {
	o.header = http.Header{}
	for i := 0; i < len(args); i++ {
		flag, value := args[i], ""
		switch flag {
		case "-H", "-d", "-f", "-p":
			if i++; i == len(args) {
				ts.Fatalf("%s needs a value", flag)
			}
			value = args[i]
		}
		switch flag {
		case "-H":
			name, value, _ := strings.Cut(value, ":")
			o.header.Add(name, strings.TrimSpace(value))
		case "-d":
			o.body = value
		case "-f":
			o.body = ts.ReadFile(value)
		case "-p":
			o.protocol = value
		case "-mute":
			o.mute = true
		case "-i":
			o.headers = true
		default:
			rest = append(rest, flag)
		}
	}
	return rest, o
}

func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	args, o := clientFlags(ts, args)
	need(ts, args, 2, "http METHOD URL [-i] [-H 'K: V'] [-d body | -f file]")
	req, err := http.NewRequest(args[0], args[1], strings.NewReader(o.body))
	ts.Check(err)
	req.Header = o.header
	if host := o.header.Get("Host"); host != "" {
		req.Host = host
	}
	client := &http.Client{Timeout: waitLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), resp.StatusCode)
	if o.headers {
		ts.Check(resp.Header.Write(ts.Stdout()))
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", answer)
	if (resp.StatusCode >= 400) != neg {
		ts.Fatalf("status %d", resp.StatusCode)
	}
}

// cmdPoll waits for something that a node shows a moment after it happened.
func cmdPoll(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 2, "poll URL regexp")
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var last string
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(args[0]); err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if last = string(body); want.MatchString(last) != neg {
				return
			}
		}
	}
	ts.Fatalf("not within %v: %s in\n%s", waitLimit, args[1], last)
}

// scriptSocket is a client made with gorilla/websocket.
type scriptSocket struct {
	conn   *websocket.Conn
	frames chan scriptFrame // messages, at last an error
	pings  chan struct{}    // holds one: a ping arrived
}

type scriptFrame struct {
	text   string
	binary bool
	err    error
}

func cmdWS(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! ws")
	}
	args, o := clientFlags(ts, args)
	need(ts, args, 2, "ws NAME verb …")
	name, verb, args := args[0], args[1], args[2:]
	switch verb {
	case "close":
		socket(ts, name).close(ts)
		return
	case "pinged":
		socket(ts, name).pinged(ts)
		return
	}
	need(ts, args, 1, "ws NAME "+verb+" argument")
	switch verb {
	case "dial":
		conn, resp, err := dial(args[0], o)
		if err != nil {
			ts.Fatalf("%v%s", err, answered(resp))
		}
		state(ts).sockets[name] = newScriptSocket(conn, o.mute)
	case "refused":
		need(ts, args, 2, "ws NAME refused URL status")
		conn, resp, err := dial(args[0], o)
		if err == nil {
			conn.Close()
		}
		if resp == nil || strconv.Itoa(resp.StatusCode) != args[1] {
			ts.Fatalf("error %v%s; want status %s", err, answered(resp), args[1])
		}
		ts.Check(resp.Header.Write(ts.Stdout()))
		fmt.Fprintln(ts.Stdout(), answered(resp))
	case "expect":
		if got := socket(ts, name).next(ts); got.err != nil || got.binary || got.text != args[0] {
			ts.Fatalf("got %q (binary %v), %v; want %q", got.text, got.binary, got.err, args[0])
		}
	case "bytes":
		if got := socket(ts, name).next(ts); got.err != nil || !got.binary || got.text != args[0] {
			ts.Fatalf("got %q (binary %v), %v; want %q in a binary frame", got.text, got.binary, got.err, args[0])
		}
	case "match":
		got := socket(ts, name).next(ts)
		fmt.Fprintln(ts.Stdout(), got.text)
		if want, err := regexp.Compile(args[0]); err != nil || got.err != nil || !want.MatchString(got.text) {
			ts.Fatalf("got %q, %v; want %s %v", got.text, got.err, args[0], err)
		}
	case "session":
		got := socket(ts, name).next(ts)
		var hello struct{ Type, Session string }
		if json.Unmarshal([]byte(got.text), &hello) != nil || hello.Type != "hello" || hello.Session == "" {
			ts.Fatalf("got %q, %v; want a hello", got.text, got.err)
		}
		ts.Setenv(args[0], hello.Session)
	case "send":
		ts.Check(socket(ts, name).conn.WriteMessage(websocket.TextMessage, []byte(args[0])))
	case "closed":
		socket(ts, name).closed(ts, args[0])
	default:
		ts.Fatalf("unknown: ws NAME %s", verb)
	}
}

func dial(url string, o clientOptions) (*websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{HandshakeTimeout: waitLimit}
	if o.protocol != "" {
		dialer.Subprotocols = []string{o.protocol}
	}
	return dialer.Dial(url, o.header)
}

func answered(resp *http.Response) string {
	if resp == nil {
		return ""
	}
	body, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf(" (answer %s: %s)", resp.Status, body)
}

// newScriptSocket reads everything that arrives. A mute socket answers neither
// pings nor close frames.
func newScriptSocket(conn *websocket.Conn, mute bool) *scriptSocket {
	s := &scriptSocket{conn, make(chan scriptFrame, 1024), make(chan struct{}, 1)}
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		select {
		case s.pings <- struct{}{}:
		default:
		}
		if mute {
			return nil
		}
		return answer(data)
	})
	if mute {
		conn.SetCloseHandler(func(int, string) error { return nil })
	}
	go func() {
		for {
			kind, text, err := conn.ReadMessage()
			s.frames <- scriptFrame{string(text), kind == websocket.BinaryMessage, err}
			if err != nil {
				if !mute {
					conn.Close()
				}
				return
			}
		}
	}()
	return s
}

func (s *scriptSocket) pinged(ts *testscript.TestScript) {
	select {
	case <-s.pings:
	case <-time.After(waitLimit):
		ts.Fatalf("no ping within %v", waitLimit)
	}
}

func socket(ts *testscript.TestScript, name string) *scriptSocket {
	s := state(ts).sockets[name]
	if s == nil {
		ts.Fatalf("no socket %s", name)
	}
	return s
}

func (s *scriptSocket) next(ts *testscript.TestScript) scriptFrame {
	select {
	case frame := <-s.frames:
		return frame
	case <-time.After(waitLimit):
		ts.Fatalf("nothing arrived within %v", waitLimit)
	}
	return scriptFrame{}
}

func (s *scriptSocket) closed(ts *testscript.TestScript, code string) {
	frame := s.next(ts)
	var ending *websocket.CloseError
	if !errors.As(frame.err, &ending) || strconv.Itoa(ending.Code) != code {
		ts.Fatalf("got %q, %v; want close code %s", frame.text, frame.err, code)
	}
}

func (s *scriptSocket) close(ts *testscript.TestScript) {
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	ts.Check(s.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(waitLimit)))
	for frame := s.next(ts); ; frame = s.next(ts) { // messages may still arrive
		if frame.err != nil {
			s.conn.Close()
			return
		}
	}
}
