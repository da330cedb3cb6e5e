package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"

	"belfry/session"
)

// listenFlags are the flags of belfry listen.
type listenFlags struct {
	url         string
	uid         string
	topics      []string
	headers     []string
	tls         tlsFlags
	json        bool
	verbose     bool
	count       int
	noReconnect bool
}

// newListenCommand returns the command listen, a subscriber for the terminal.
func newListenCommand() *cobra.Command {
	f := new(listenFlags)
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Connect as a client and print what arrives",
		Long: `Connect as a client (belfry.v1) and print what arrives: text as it is, JSON
indented, binary as a hex dump. With --json each message of the server is printed
unchanged on one line. When the connection ends, listen reconnects after the pauses
of belfry.v1 clients, unless the server says that clients should not come back.

Exit status: 0 interrupted, or --count reached; 1 refused, closed for good, or with
--no-reconnect the connection ended; 2 wrong usage.`,
		Example: `  belfry listen --uid u1 --topic news
  belfry listen --url wss://push.example.com/ws --topic news --json | jq -r .data`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "ws://127.0.0.1:8080/ws", "address of the WebSocket, or host:port")
	flags.StringVar(&f.uid, "uid", "", "user to claim (accepted only with --dev)")
	flags.StringArrayVar(&f.topics, "topic", nil, "topic to subscribe to; may be repeated")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header line of the request, 'Name: value'; may be repeated")
	f.tls.add(flags)
	flags.BoolVar(&f.json, "json", false, "print each message of the server as one line of JSON")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show hello and bye too")
	flags.IntVar(&f.count, "count", 0, "end after this many messages; 0: never")
	flags.BoolVar(&f.noReconnect, "no-reconnect", false, "end when the connection ends")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := f.listener(cmd.OutOrStdout(), cmd.ErrOrStderr())
		if err != nil {
			return &usageError{err, cmd.CommandPath()}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return l.run(ctx)
	}
	return cmd
}

// listener is one run of the command.
type listener struct {
	flags    *listenFlags
	url      string
	header   http.Header
	client   *http.Client
	out, err io.Writer
	tty      bool // out is a terminal
	left     int  // messages left; below 0: no limit
	bye      *serverMessage
	asked    string // id of the last message if it asks for an acknowledgement, else ""
	attempt  int    // failed connections in a row
}

// serverMessage has the fields of belfry.v1 messages that listen uses
// (docs/protocol.md).
type serverMessage struct {
	Type      string   `json:"type"`
	ID        string   `json:"id,omitempty"`
	Ack       bool     `json:"ack,omitempty"`
	Session   string   `json:"session,omitempty"`
	UID       string   `json:"uid,omitempty"`
	Topics    []string `json:"topics,omitempty"`
	Data      string   `json:"data"`
	Binary    bool     `json:"binary,omitempty"`
	Code      int      `json:"code,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Reconnect bool     `json:"reconnect,omitempty"`
	After     float64  `json:"after,omitempty"`
}

func (f *listenFlags) listener(out, errs io.Writer) (*listener, error) {
	target := f.url
	if !strings.Contains(target, "://") {
		target = "ws://" + target
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme) {
		return nil, fmt.Errorf("--url: %q; allowed are ws://host:port/path, wss:// and host:port", f.url)
	}
	if u.Path == "" {
		u.Path = "/ws"
	}
	query := u.Query()
	if f.uid != "" {
		query.Set("uid", f.uid)
	}
	for _, topic := range f.topics {
		query.Add("topic", topic)
	}
	u.RawQuery = query.Encode()
	secure, err := f.tls.config()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = secure
	l := &listener{flags: f, url: u.String(), header: http.Header{}, client: &http.Client{Transport: transport}, out: out, err: errs, tty: terminal(out), left: -1}
	for _, line := range f.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("--header: a line has no name; allowed is 'Name: value'") // the value may be secret
		}
		l.header.Add(name, strings.TrimSpace(value))
	}
	if f.count < 0 {
		return nil, fmt.Errorf("--count: %d; allowed are 0 and above", f.count)
	} else if f.count > 0 {
		l.left = f.count
	}
	return l, nil
}

// errDone ends a listener that has received --count messages.
var errDone = errors.New("done")

// run connects again and again.
func (l *listener) run(ctx context.Context) error {
	for {
		least, err := l.connection(ctx)
		if ctx.Err() != nil || errors.Is(err, errDone) {
			return nil
		}
		var final *finalError
		if errors.As(err, &final) || l.flags.noReconnect {
			return err
		}
		pause := max(backoff(l.attempt, rand.Float64()), least)
		l.attempt++
		fmt.Fprintf(l.err, "belfry: %v; again in %v\n", err, pause.Round(100*time.Millisecond))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// backoff returns how long a client waits before it reconnects
// (docs/protocol.md).
func backoff(attempt int, random float64) time.Duration {
	return time.Duration(float64(min(30*time.Second, time.Second<<min(attempt, 10))) * (0.5 + random/2))
}

// finalError is an error after which reconnecting is pointless.
type finalError struct{ text string }

func (e *finalError) Error() string { return e.text }

// maxListened bounds a received message, in bytes: the longest payload takes
// less in JSON.
const maxListened = 64 << 20

// How a dead connection is noticed.
const (
	listenPing = 25 * time.Second
	listenPong = 10 * time.Second
)

// connection makes one connection and reads it to its end. It returns why it
// ended, and how long to wait before the next as the server advised.
func (l *listener) connection(ctx context.Context) (least time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, l.url, &websocket.DialOptions{HTTPClient: l.client, HTTPHeader: l.header, Subprotocols: []string{"belfry.v1"}})
	if err != nil {
		return refusedAnswer(resp, err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxListened)
	l.bye = nil
	go keepAlive(ctx, conn)
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				conn.Close(websocket.StatusNormalClosure, "")
			}
			return l.ended(err)
		}
		l.attempt = 0
		err = l.received(conn.Subprotocol() != "", kind == websocket.MessageBinary, data)
		if l.asked != "" && (err == nil || err == errDone) {
			ack, _ := json.Marshal(map[string]string{"type": "ack", "id": l.asked}) // strings: cannot fail
			_ = conn.Write(ctx, websocket.MessageText, ack)                         // the next read finds the error
		}
		if err != nil {
			conn.Close(websocket.StatusNormalClosure, "")
			return 0, err
		}
	}
}

// keepAlive pings the server, and closes a connection whose server does not
// answer.
func keepAlive(ctx context.Context, conn *websocket.Conn) {
	ticks := time.NewTicker(listenPing)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		answer, cancel := context.WithTimeout(ctx, listenPong)
		if conn.Ping(answer) != nil {
			cancel()
			conn.CloseNow()
			return
		}
		cancel()
	}
}

// refusedAnswer tells a permanent refusal from a temporary one.
func refusedAnswer(resp *http.Response, err error) (least time.Duration, _ error) {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return 0, fmt.Errorf("cannot connect: %w", withCA(err))
	}
	var text []byte
	if resp.Body != nil {
		text, _ = io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	}
	answer := strings.TrimSpace(string(text))
	if !strings.HasPrefix(answer, resp.Status) { // a refusal by belfry begins with the status
		answer = resp.Status + ", which is not an answer of belfry: is --url right? " + answer
	}
	seconds, told := strconv.Atoi(resp.Header.Get("Retry-After"))
	switch status := resp.StatusCode; {
	case status == http.StatusHTTPVersionNotSupported:
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests && told == nil:
		return time.Duration(seconds) * time.Second, errors.New("refused: " + answer)
	}
	return 0, &finalError{"refused: " + answer}
}

// final says whether clients must not reconnect after a close code. After a
// code that is not in the registry they reconnect.
func final(code websocket.StatusCode) bool {
	return slices.ContainsFunc(session.Reasons(), func(r session.Reason) bool {
		return r.Code() != 0 && websocket.StatusCode(r.Code()) == code && !r.Reconnect()
	})
}

// ended says why a connection ended.
func (l *listener) ended(err error) (least time.Duration, _ error) {
	var closed websocket.CloseError
	if !errors.As(err, &closed) {
		return l.after(), fmt.Errorf("the connection broke: %w", err)
	}
	text := strings.TrimSpace(fmt.Sprintf("closed with %d %s", closed.Code, closed.Reason))
	if l.bye != nil && !l.bye.Reconnect || l.bye == nil && final(closed.Code) {
		return 0, &finalError{text}
	}
	return l.after(), errors.New(text)
}

func (l *listener) after() time.Duration {
	if l.bye == nil {
		return 0
	}
	return time.Duration(l.bye.After * float64(time.Second))
}

// received prints a message.
func (l *listener) received(enveloped, binary bool, data []byte) error {
	m := serverMessage{Type: "msg", Binary: binary}
	l.asked = ""
	line := data
	if enveloped {
		m.Binary = false
		if err := json.Unmarshal(data, &m); err != nil {
			return &finalError{"the server does not speak belfry.v1: " + err.Error()}
		}
	} else if m.Data = string(data); binary {
		m.Data = base64.StdEncoding.EncodeToString(data)
	}
	if m.Type != "msg" {
		return l.told(&m, line)
	}
	if l.flags.json {
		if !enveloped {
			line, _ = json.Marshal(m) // a struct of strings: cannot fail
		}
		line = append(bytes.TrimSpace(line), '\n')
	} else {
		line = readable(&m)
	}
	if l.tty {
		line = tame(line)
	}
	if _, err := l.out.Write(line); err != nil {
		return &finalError{err.Error()}
	}
	if m.Ack {
		l.asked = m.ID
	}
	if l.left--; l.left == 0 {
		return errDone
	}
	return nil
}

// told handles a message that is not a push.
func (l *listener) told(m *serverMessage, line []byte) (err error) {
	if m.Type == "bye" {
		l.bye = m
	}
	switch {
	case !l.flags.verbose:
	case l.flags.json:
		_, err = l.out.Write(append(bytes.TrimSpace(line), '\n'))
	case m.Type == "hello":
		_, err = fmt.Fprintf(l.err, "hello: session %s, user %q, topics %q\n", m.Session, m.UID, m.Topics)
	case m.Type == "bye":
		_, err = fmt.Fprintf(l.err, "bye: %d %s, reconnect: %t, not before %g s\n", m.Code, m.Reason, m.Reconnect, m.After)
	}
	return err
}

// readable returns a message for people: a line, indented JSON, or a hex dump.
func readable(m *serverMessage) []byte {
	if m.Binary {
		data, err := base64.StdEncoding.DecodeString(m.Data)
		if err != nil {
			return []byte("not base64: " + m.Data + "\n")
		}
		return []byte(hex.Dump(data))
	}
	var indented bytes.Buffer
	if strings.HasPrefix(m.Data, "{") || strings.HasPrefix(m.Data, "[") {
		if json.Indent(&indented, []byte(m.Data), "", "  ") != nil {
			indented.Reset()
		}
	}
	if indented.Len() == 0 {
		indented.WriteString(m.Data)
	}
	return append(bytes.TrimSuffix(indented.Bytes(), []byte("\n")), '\n')
}
