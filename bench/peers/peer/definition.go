// Package peer describes how to start a WebSocket server, connect to it and
// publish through it: the servers of this module, and any other with a
// definition in YAML.
package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/goccy/go-yaml"

	"belfry/bench"
)

// Definition describes a server. In Command, Files, Ready and Connected,
// {binary} stands for the given program, {listen} and {api} for IPv4 addresses
// with a free port each, {listen_port} and {api_port} for their ports, and
// {dir} for an empty folder of this server.
type Definition struct {
	Name    string            `json:"name"`    // in tables and in --only
	About   string            `json:"about"`   // a line under the table
	Command []string          `json:"command"` // the program and its arguments; it stays in the foreground and ends by SIGTERM
	Env     []string          `json:"env"`     // NAME=VALUE, further environment variables
	Files   map[string]string `json:"files"`   // to write into {dir} before it starts
	// Ready is a URL that answers 200 when it is ready. "" waits until it
	// accepts connections at {listen}.
	Ready string `json:"ready"`
	// Connected is a URL that answers the number of connections that would get
	// a message, because a server may answer the upgrade before it registers a
	// connection. "" relies on the clients.
	Connected string `json:"connected"`
	// Listen and API are fixed addresses of the server; "" for free ones.
	Listen string `json:"listen"`
	API    string `json:"api"`

	// Wire is how connections are made; {uid} and {n} are as in bench.Template.
	Wire bench.Wire `json:"wire"`

	All  *Request `json:"all"`  // publishes to all; nil is the floor
	User *Request `json:"user"` // publishes to a user's connections; nil leaves pushes out
}

// Request is one publication: an HTTP POST, or a NATS message if Subject is
// set. The texts are bench.Templates with {uid} and {payload}.
type Request struct {
	Path    string   `json:"path"`
	Headers []string `json:"headers"` // whole lines, "Name: value"
	Body    string   `json:"body"`    // "" is the payload alone
	Subject string   `json:"subject"`
	// Delivered is a part of the answer's body that means success, for servers
	// that report errors with a 200. "" accepts any 2xx.
	Delivered string `json:"delivered"`
}

// Parse reads a definition and checks it.
func Parse(text []byte) (*Definition, error) {
	// Through JSON, because the field names of bench.Wire are JSON names.
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("definition: %w", err)
	}
	asJSON, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("definition: %w", err)
	}
	var d Definition
	dec := json.NewDecoder(bytes.NewReader(asJSON))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("definition: %w", err)
	}
	return &d, d.Check()
}

// Check returns an error that names the wrong field, or nil.
func (d *Definition) Check() error {
	fail := func(field, format string, args ...any) error {
		return fmt.Errorf("definition of %q: %s: %s", d.Name, field, fmt.Sprintf(format, args...))
	}
	if d.Name == "" || strings.ContainsAny(d.Name, ", \t\n|=") {
		return fail("name", "needed, without spaces, commas, bars and equal signs")
	}
	if len(d.Command) == 0 {
		return fail("command", "empty")
	}
	for field, s := range map[string]string{"listen": d.Listen, "api": d.API} {
		if s == "" {
			continue
		}
		if a, err := netip.ParseAddrPort(s); err != nil || !a.Addr().Is4() {
			return fail(field, "%q is no IPv4 address with a port", s)
		}
	}
	w := &d.Wire
	if !strings.HasPrefix(w.Path, "/") {
		return fail("wire.path", "%q does not begin with /", w.Path)
	}
	if !w.Wrapped && (w.Ready != "" || len(w.Answers) > 0) {
		return fail("wire.wrapped", "needed for ready and answers")
	}
	if w.Users != 0 || w.Topics != 0 {
		return fail("wire.users, wire.topics", "are set by the measurement")
	}
	if d.All == nil {
		return fail("all", "needed")
	}
	for field, r := range map[string]*Request{"all": d.All, "user": d.User} {
		if r == nil {
			continue
		}
		if (r.Path == "") == (r.Subject == "") {
			return fail(field, "one of path and subject is needed")
		}
		if r.Path != "" && !strings.HasPrefix(r.Path, "/") {
			return fail(field+".path", "%q does not begin with /", r.Path)
		}
		if r.Body != "" && !strings.Contains(r.Body, "{payload}") {
			return fail(field+".body", "does not contain {payload}")
		}
	}
	if r := d.User; r != nil && !strings.Contains(r.Path+r.Subject+r.Body, "{uid}") {
		return fail("user", "does not name the user: {uid}")
	}
	return nil
}

// Places are the values for the placeholders of a definition.
type Places struct {
	Binary      string
	Listen, API netip.AddrPort
	Dir         string
}

// Render returns a copy with its placeholders replaced.
func (d *Definition) Render(p Places) (*Definition, error) {
	replace := strings.NewReplacer("{binary}", p.Binary, "{dir}", p.Dir,
		"{listen}", p.Listen.String(), "{listen_port}", fmt.Sprint(p.Listen.Port()),
		"{api}", p.API.String(), "{api_port}", fmt.Sprint(p.API.Port())).Replace
	if p.Binary == "" && strings.Contains(strings.Join(d.Command, " "), "{binary}") {
		return nil, errors.New("command: no program was given for {binary}")
	}
	r := *d
	r.Command, r.Files = make([]string, len(d.Command)), make(map[string]string, len(d.Files))
	for i, s := range d.Command {
		r.Command[i] = replace(s)
	}
	for name, text := range d.Files {
		r.Files[name] = replace(text)
	}
	r.Connected = replace(d.Connected)
	r.Ready, r.Listen, r.API = replace(d.Ready), p.Listen.String(), p.API.String()
	return &r, nil
}
