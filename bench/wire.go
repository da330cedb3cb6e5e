package bench

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Wire describes the protocol of a server. The zero value requests / and
// expects only payloads.
type Wire struct {
	Path        string   `json:"path"`                  // a Template, as DevPath gives for belfry
	Host        string   `json:"host,omitempty"`        // header, in which {port} is the target's; "" is the target's address
	Headers     []string `json:"headers,omitempty"`     // further lines of the request, "Name: value"
	Subprotocol string   `json:"subprotocol,omitempty"` // to ask for and to insist on
	Users       int      `json:"users,omitempty"`       // connection n belongs to user n modulo this; 0 makes each its own user
	Topics      int      `json:"topics,omitempty"`      // how many different ones; 0 asks for none
	OnOpen      []string `json:"on_open,omitempty"`     // messages to send behind the 101; Templates
	Binary      bool     `json:"binary,omitempty"`      // the client sends binary messages, not text
	Ready       string   `json:"ready,omitempty"`       // part of the message that says that OnOpen took effect; "" if the 101 says so. Needs Wrapped
	Wrapped     bool     `json:"wrapped,omitempty"`     // payloads are inside the server's own messages, some of which have none
	Answers     []Answer `json:"answers,omitempty"`     // to the server's own messages. Needs Wrapped
	Deflate     bool     `json:"deflate,omitempty"`     // offer permessage-deflate without context takeover, and insist on it
	Events      bool     `json:"events,omitempty"`      // Server-Sent Events instead of WebSocket: nothing can be sent, so no OnOpen and no Answers
	Tokens      string   `json:"tokens,omitempty"`      // file whose line n, from 0, is what connection n sends as Authorization: Bearer; "" for none
	Level       bool     `json:"level,omitempty"`       // the epoll set of the clients is level-triggered, as that of most clients is
}

// Answer is a message that the client sends whenever it receives another,
// which has to be equal to To in every byte: the pong to a ping that is a
// message, as socket.io's "2" → "3". To may also be a line of a message, because
// servers put several of their messages into one (Centrifugo, nats-server); To
// may contain the line feed at its end.
type Answer struct {
	To   string `json:"to"`
	With string `json:"with"`
}

// wire is a compiled Wire.
type wire struct {
	Wire
	path   Template
	onOpen []Template
	hosts  []string // of the targets
	tokens []string // of the Dial's connections, from its first
	first  int      // number of that connection
}

func newWire(d Dial) wire {
	w := wire{Wire: d.Wire, path: ParseTemplate(d.Path)}
	if d.Path == "" {
		w.path = ParseTemplate("/")
	}
	for _, s := range d.OnOpen {
		w.onOpen = append(w.onOpen, ParseTemplate(s))
	}
	if d.Deflate {
		w.Headers = append(slices.Clip(d.Headers), deflateOffer)
	}
	for _, t := range d.Targets {
		host := strings.ReplaceAll(d.Host, "{port}", strconv.Itoa(int(t.Port())))
		if host == "" {
			host = t.String()
		}
		w.hosts = append(w.hosts, host)
	}
	return w
}

// user returns the user of connection n.
func (w *wire) user(n int) int {
	if w.Users > 0 {
		return n % w.Users
	}
	return n
}

func (w *wire) values(n int, payload []byte) Values {
	return Values{User: w.user(n), Number: n, Topics: w.Topics, Payload: payload}
}

// appendRequest appends the upgrade request of connection n.
func (w *wire) appendRequest(dst []byte, n int) []byte {
	var room [512]byte
	target := w.path.Append(room[:0], w.values(n, nil))
	host, headers := w.hosts[n%len(w.hosts)], w.Headers
	if len(w.tokens) > 0 {
		headers = append(slices.Clip(headers), "Authorization: Bearer "+w.tokens[n-w.first])
	}
	if w.Events {
		return appendEventRequest(dst, host, string(target), headers)
	}
	return AppendRequest(dst, host, string(target), headers, w.Subprotocol)
}

// parseResponse checks the answer to the request; see ParseResponse.
func (w *wire) parseResponse(p []byte) (n int, err error) {
	if w.Events {
		return parseEventResponse(p)
	}
	return parseUpgrade(p, w.Subprotocol, w.Deflate)
}

// check returns an error if parts of w exclude each other.
func (w *Wire) check() error {
	if w.Events && (w.Deflate || w.Subprotocol != "" || len(w.OnOpen)+len(w.Answers) > 0) {
		return errors.New("events: deflate, subprotocol, on_open and answers are of WebSocket")
	}
	return nil
}
