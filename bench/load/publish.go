package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"

	"belfry/bench"
	"belfry/bench/publish"
)

// Publish says how messages are given to the server: over HTTP, or by a
// command. Templates may contain {payload}, and for a push to a user {uid}.
type Publish struct {
	API     string   // base URL of belfry's API; sets the next two URLs
	Key     string   // bearer token, "" for none
	AllURL  string   // URL for messages to all; a template
	UserURL string   // URL for messages to one user; a template
	Method  string   // "" is POST
	Body    string   // template; "" is the payload alone
	User    string   // template of the body of a push to a user; "" is that of Body
	Headers []string // further lines of the request
	Command string   // shell command instead of HTTP; it sends its standard input to all
}

func (p *Publish) validate(mode string) error {
	if p.API != "" {
		base := strings.TrimSuffix(p.API, "/")
		if p.AllURL == "" {
			p.AllURL = base + "/v1/all"
		}
		if p.UserURL == "" {
			p.UserURL = base + "/v1/users/{uid}"
		}
	}
	if p.Method == "" {
		p.Method = "POST"
	}
	if p.Body == "" {
		p.Body = "{payload}"
	}
	if p.User == "" {
		p.User = p.Body
	}
	if p.Key != "" {
		p.Headers = append(p.Headers, "Authorization: Bearer "+p.Key)
	}
	for flag, u := range map[string]string{"api or --publish-url": p.AllURL, "api or --push-url": p.UserURL} {
		if u == "" {
			continue
		}
		if parsed, err := url.Parse(u); err != nil || parsed.Scheme != "http" || parsed.Host == "" {
			return fmt.Errorf("--%s %q: not a URL that begins with http://", flag, u)
		}
	}
	switch {
	case (mode == Fanout || mode == Slow || mode == Soak) && p.AllURL == "" && p.Command == "":
		return fmt.Errorf("%s publishes: give --api, --publish-url or --publish-command", mode)
	case mode == Push && p.UserURL == "":
		return errors.New("push publishes to users: give --api or --push-url")
	case !strings.Contains(p.Body+p.AllURL, "{payload}") || !strings.Contains(p.User+p.UserURL, "{payload}"):
		return errors.New("--publish-body: has no {payload} in it")
	}
	return nil
}

// publisher sends messages to all.
type publisher interface {
	// broadcast returns the stamp in the message, taken just before it was
	// sent.
	broadcast(ctx context.Context, seq uint32) (stamp int64, err error)
	close()
}

// newPublisher makes the publisher of o.
func newPublisher(o *Options) (publisher, error) {
	if o.Publish.Command != "" {
		return &shell{command: o.Publish.Command, size: o.Size, clock: bench.NewClock()}, nil
	}
	r, err := o.Publish.request(o.Publish.AllURL, o.Publish.Body)
	if err != nil {
		return nil, err
	}
	c := publish.NewConn(r)
	return &single{conn: c, size: o.Size}, nil
}

// request makes messages for a URL.
func (p *Publish) request(to, body string) (*publish.Request, error) {
	return publish.NewRequest(p.Method, to, body, p.Headers...)
}

// shell publishes by a command.
type shell struct {
	command string
	size    int
	clock   bench.Clock
}

func (s *shell) broadcast(ctx context.Context, seq uint32) (int64, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", s.command)
	stamp := s.clock.Now()
	cmd.Stdin = bytes.NewReader(bench.AppendPayload(nil, bench.Broadcast, seq, stamp, s.size))
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("--publish-command: %w: %.200s", err, out)
	}
	return stamp, nil
}

func (s *shell) close() {}

// single publishes one message after the other on one HTTP connection.
type single struct {
	conn *publish.Conn
	size int
}

func (s *single) broadcast(ctx context.Context, seq uint32) (int64, error) {
	return s.conn.Push(ctx, bench.Message{Stream: bench.Broadcast, Seq: seq}, s.size)
}

func (s *single) close() { s.conn.Close() }
