package peer

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"belfry/bench"
)

//go:embed definitions/*.yaml
var definitions embed.FS

// External returns the included definitions of servers that are programs of
// their own, by name.
func External() (map[string]*Definition, error) {
	files, err := definitions.ReadDir("definitions")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*Definition, len(files))
	for _, f := range files {
		text, err := definitions.ReadFile("definitions/" + f.Name())
		if err != nil {
			return nil, err
		}
		d, err := Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if f.Name() != d.Name+".yaml" {
			return nil, fmt.Errorf("%s defines %s", f.Name(), d.Name)
		}
		all[d.Name] = d
	}
	return all, nil
}

// Names of the servers that this module has or builds, in the order of tables.
const (
	Belfry     = "belfry"
	Floor      = "floor"
	GWS        = "gws"
	Gorilla    = "gorilla"
	Coder      = "coder"
	NBIO       = "nbio"
	NATS       = "nats"
	SocketIO   = "socketio"
	Centrifugo = "centrifugo" // defined as the external ones are
)

// Own lists the names of the servers that need no given program.
func Own() []string {
	return []string{Belfry, Floor, GWS, Gorilla, Coder, NBIO, NATS, SocketIO, Centrifugo}
}

// The API of belfry, which the peers of this module have too.
var (
	toAll  = Request{Path: "/v1/all", Headers: []string{"Content-Type: text/plain"}}
	toUser = Request{Path: "/v1/users/{uid}", Headers: []string{"Content-Type: text/plain"}}
)

const ownPath = "/ws?uid={uid}"

// ForBelfry returns the definition of belfry; {binary} is its program.
func ForBelfry(shards int) *Definition {
	return &Definition{
		Name: Belfry, About: fmt.Sprintf("serve --dev --shards %d", shards),
		Command: []string{"{binary}", "serve", "--dev", "--listen", "{listen}", "--api", "{api}",
			"--shards", fmt.Sprint(shards), "--log-level", "warn"},
		Ready: "http://{api}/readyz", Wire: bench.Wire{Path: ownPath}, All: &toAll, User: &toUser,
	}
}

// ForLibrary returns the definition of a server of this module; {binary} is
// this program.
func ForLibrary(name string) *Definition {
	d := &Definition{
		Name: name, Command: []string{"{binary}", "serve", name, "--listen", "{listen}", "--api", "{api}"},
		Ready: "http://{api}/readyz", Connected: "http://{api}/v1/connections",
		Wire: bench.Wire{Path: ownPath}, All: &toAll, User: &toUser,
	}
	switch name {
	case GWS:
		d.About = "lxzan/gws 1.8.9: a reading goroutine a connection, its Broadcaster"
	case Gorilla:
		d.About = "gorilla/websocket 1.5.3: two goroutines and a queue of 64 a connection, otherwise as in its chat example, prepared messages"
	case Coder:
		d.About = "coder/websocket 1.8.15: two goroutines and a queue of 64 a connection, otherwise as in its chat example"
	case NBIO:
		d.About = "lesismal/nbio 1.6.8: its own HTTP server and epoll sets (IOModNonBlocking), no goroutine a connection"
	case NATS:
		d.About = "nats-server 2.15.2, its WebSocket listener; two subscriptions a connection, published to over NATS"
		d.Ready, d.Connected, d.All, d.User = "", "", &Request{Subject: "all"}, &Request{Subject: "user.{uid}"}
		d.Wire = bench.Wire{
			Path:    "/",
			OnOpen:  []string{"CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1}\r\nSUB all 1\r\nSUB user.{uid} 2\r\nPING\r\n"},
			Binary:  true,
			Ready:   "PONG",
			Wrapped: true,
			Answers: []bench.Answer{{To: "PING\r\n", With: "PONG\r\n"}},
		}
	}
	return d
}

// ForSocketIO returns the definition of the server that command runs on
// Node.js.
func ForSocketIO(command []string) *Definition {
	return &Definition{
		Name: SocketIO, About: "socket.io 4.8.4 on Node.js, WebSocket only, a room a user",
		Command: append(slices.Clone(command), "{listen}", "{api}"),
		Ready:   "http://{api}/readyz",
		// A connection packet for the main namespace, and its answer
		// (socket.io protocol 5); "2" and "3" are engine.io's ping and pong.
		Wire: bench.Wire{
			Path:    "/socket.io/?EIO=4&transport=websocket",
			OnOpen:  []string{`40{"uid":"{uid}"}`},
			Ready:   `40{"sid"`,
			Wrapped: true,
			Answers: []bench.Answer{{To: "2", With: "3"}},
		},
		All: &toAll, User: &toUser,
	}
}

// IsOwn says whether name is in Own.
func IsOwn(name string) bool { return slices.Contains(Own(), name) }

// Libraries lists what `serve` serves.
func Libraries() []string { return []string{GWS, Gorilla, Coder, NBIO, NATS} }

// List joins names for messages.
func List(names []string) string { return strings.Join(names, ", ") }
