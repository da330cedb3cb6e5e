package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// Publish says how messages are given to the server: over HTTP, or by a
// command. Templates may contain {payload}, and for a push to a user {uid}.
type Publish struct {
	API     string        `flag:"api" of:"fanout push slow soak" help:"belfry's API, like http://127.0.0.1:8081"`
	Key     string        `flag:"api-key" of:"fanout push slow soak" help:"bearer token (better BELFRY_API_KEY: the command line is no secret)"`
	AllURL  string        `flag:"publish-url" of:"fanout slow soak" help:"URL for messages to all (default: that of --api)"`
	UserURL string        `flag:"push-url" of:"push" help:"URL for messages to one user; may contain {uid} (default: that of --api)"`
	Wait    time.Duration `flag:"wait" of:"push" range:"0s..30s" help:"have belfry answer when it knows what became of the message (?wait=), 0 when it has accepted it"`
	Method  string        `flag:"publish-method" of:"fanout push slow soak" value:"POST" help:"HTTP method"`
	Body    string        `flag:"publish-body" of:"fanout push slow soak" value:"{payload}" help:"body of the request; a template"`
	Lines   []string      `flag:"publish-header" of:"fanout push slow soak" help:"further header lines of the request: 'Name: value' (repeatable)"`
	Command string        `flag:"publish-command" of:"fanout slow soak" help:"shell command that sends its standard input to all, instead of HTTP"`
}

func (p *Publish) validate(mode string) error {
	toAll := mode == Fanout || mode == Slow || mode == Soak
	if !toAll && mode != Push {
		return nil
	}
	if p.API != "" {
		base := strings.TrimSuffix(p.API, "/")
		if p.AllURL == "" {
			p.AllURL = base + "/v1/all"
		}
		if p.UserURL == "" {
			p.UserURL = base + "/v1/users/{uid}"
			if p.Wait > 0 {
				p.UserURL += "?wait=" + p.Wait.String()
			}
		}
	}
	to := p.AllURL
	if mode == Push {
		to = p.UserURL
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
	case toAll && to == "" && p.Command == "":
		return fmt.Errorf("%s publishes: give --api, --publish-url or --publish-command", mode)
	case mode == Push && to == "":
		return errors.New("push publishes to users: give --api or --push-url")
	case !strings.Contains(p.Body+to, "{payload}"):
		return errors.New("--publish-body: has no {payload} in it")
	}
	return nil
}

// request makes messages for a URL.
func (p *Publish) request(to string) (*publish.Request, error) {
	lines := p.Lines
	if key := p.key(); key != "" {
		lines = append([]string{"Authorization: Bearer " + key}, lines...)
	}
	return publish.NewRequest(p.Method, to, p.Body, lines...)
}

// remote is the server under test, which runs already. Its processes are not
// known.
type remote struct {
	conn    *publish.Conn // nil if a command publishes, or nothing
	command string
	clock   bench.Clock
}

func newRemote(p *Publish) (*remote, error) {
	r := &remote{command: p.Command, clock: bench.NewClock()}
	if p.Command != "" || p.AllURL == "" {
		return r, nil
	}
	request, err := p.request(p.AllURL)
	if err == nil {
		r.conn = publish.NewConn(request)
	}
	return r, err
}

func (r *remote) Name() string                    { return "the server" }
func (r *remote) Grow(context.Context, int) error { return nil }
func (r *remote) Processes() []*bench.Process     { return nil }
func (r *remote) Listen(int) []netip.AddrPort     { return nil }

// Broadcast publishes on one HTTP connection, or by the command.
func (r *remote) Broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	if r.conn != nil {
		return r.conn.Push(ctx, bench.Message{Stream: bench.Broadcast, Seq: seq}, size)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", r.command)
	stamp := r.clock.Now()
	cmd.Stdin = bytes.NewReader(bench.AppendPayload(nil, bench.Broadcast, seq, stamp, size))
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("--publish-command: %w: %.200s", err, out)
	}
	return stamp, nil
}

func (r *remote) Stop() {
	if r.conn != nil {
		r.conn.Close()
	}
}
