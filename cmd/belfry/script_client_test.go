package main

import (
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

// clientFlags takes -H, -d and -p off the arguments.
func clientFlags(ts *testscript.TestScript, args []string) (rest []string, header http.Header, body, protocol string) {
	header = http.Header{}
	for i := 0; i < len(args); i++ {
		flag := args[i]
		if flag != "-H" && flag != "-d" && flag != "-p" {
			rest = append(rest, flag)
			continue
		}
		if i++; i == len(args) {
			ts.Fatalf("%s needs a value", flag)
		}
		switch flag {
		case "-H":
			name, value, _ := strings.Cut(args[i], ":")
			header.Add(name, strings.TrimSpace(value))
		case "-d":
			body = args[i]
		case "-p":
			protocol = args[i]
		}
	}
	return rest, header, body, protocol
}

func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	args, header, body, _ := clientFlags(ts, args)
	need(ts, args, 2, "http METHOD URL [-H 'K: V'] [-d body]")
	req, err := http.NewRequest(args[0], args[1], strings.NewReader(body))
	ts.Check(err)
	req.Header = header
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n%s\n", resp.StatusCode, answer)
	if (resp.StatusCode >= 400) != neg {
		ts.Fatalf("status %d", resp.StatusCode)
	}
}

// scriptSocket is a client of gorilla/websocket.
type scriptSocket struct {
	conn   *websocket.Conn
	frames chan scriptFrame // messages, at last an error
}

type scriptFrame struct {
	text string
	err  error
}

func cmdWS(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! ws")
	}
	args, header, _, protocol := clientFlags(ts, args)
	need(ts, args, 2, "ws NAME dial|refused|expect|match|send|close|closed …")
	name, verb, args := args[0], args[1], args[2:]
	if verb == "close" {
		socket(ts, name).close(ts)
		return
	}
	need(ts, args, 1, "ws NAME "+verb+" argument")
	switch verb {
	case "dial":
		conn, resp, err := dial(args[0], header, protocol)
		if err != nil {
			ts.Fatalf("%v%s", err, answered(resp))
		}
		state(ts).sockets[name] = newScriptSocket(conn)
	case "refused":
		need(ts, args, 2, "ws NAME refused URL status")
		conn, resp, err := dial(args[0], header, protocol)
		if err == nil {
			conn.Close()
		}
		if resp == nil || strconv.Itoa(resp.StatusCode) != args[1] {
			ts.Fatalf("error %v%s; want status %s", err, answered(resp), args[1])
		}
	case "expect":
		if got := socket(ts, name).next(ts); got.err != nil || got.text != args[0] {
			ts.Fatalf("got %q, %v; want %q", got.text, got.err, args[0])
		}
	case "match":
		got := socket(ts, name).next(ts)
		fmt.Fprintln(ts.Stdout(), got.text)
		if want, err := regexp.Compile(args[0]); err != nil || got.err != nil || !want.MatchString(got.text) {
			ts.Fatalf("got %q, %v; want %s %v", got.text, got.err, args[0], err)
		}
	case "send":
		ts.Check(socket(ts, name).conn.WriteMessage(websocket.TextMessage, []byte(args[0])))
	case "closed":
		socket(ts, name).closed(ts, args[0])
	default:
		ts.Fatalf("unknown: ws NAME %s", verb)
	}
}

func dial(url string, header http.Header, protocol string) (*websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{HandshakeTimeout: patience}
	if protocol != "" {
		dialer.Subprotocols = []string{protocol}
	}
	return dialer.Dial(url, header)
}

func answered(resp *http.Response) string {
	if resp == nil {
		return ""
	}
	body, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf(" (answer %s: %s)", resp.Status, body)
}

func newScriptSocket(conn *websocket.Conn) *scriptSocket {
	s := &scriptSocket{conn, make(chan scriptFrame, 1024)}
	go func() {
		for {
			_, text, err := conn.ReadMessage()
			s.frames <- scriptFrame{string(text), err}
			if err != nil {
				return
			}
		}
	}()
	return s
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
	case <-time.After(patience):
		ts.Fatalf("nothing arrived within %v", patience)
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
	ts.Check(s.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(patience)))
	for frame := s.next(ts); ; frame = s.next(ts) { // messages may be under way
		if frame.err != nil {
			s.conn.Close()
			return
		}
	}
}
