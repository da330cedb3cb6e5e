package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"belfry/config"
	"belfry/push"
)

// Environment variables of the commands that call the API, for values that are the
// same in every call. Every user of the machine can read a key on the command line.
const (
	envPushAPI = "BELFRY_PUSH_API"
	envAPIKey  = "BELFRY_API_KEY"
)

// apiFlags are the flags of commands that call the HTTP API.
type apiFlags struct {
	api, key string
	tls      tlsFlags
	timeout  time.Duration
}

func (f *apiFlags) add(flags *pflag.FlagSet, timeout string) {
	flags.StringVar(&f.api, "api", envOr(envPushAPI, "http://"+push.DefaultAddress), "address of the API (or "+envPushAPI+")")
	flags.StringVar(&f.key, "key", "", "API key (better "+envAPIKey+": the command line is no secret)")
	f.tls.add(flags)
	f.tls.addCert(flags)
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, timeout)
}

func envOr(name, def string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return def
}

// escapeName makes a name one segment of a path. Programs on the way would take
// a name of only dots for a directory.
func escapeName(name string) string {
	if name == "." || name == ".." {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}

// maxAnswer bounds how much of an answer is read, in bytes.
const maxAnswer = 1 << 20

// request builds a request of the API. cancel ends it.
func (f *apiFlags) request(cmd *cobra.Command, method, path string, body io.Reader) (*http.Request, context.CancelFunc, error) {
	base := f.api
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" {
		return nil, nil, &usageError{fmt.Errorf("--api %q; allowed are host:port and http:// or https:// addresses", f.api), cmd.CommandPath()}
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, body)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	req.Header.Set("User-Agent", "belfry-"+cmd.Name())
	key := f.key
	if key == "" {
		key = os.Getenv(envAPIKey)
	}
	if key, err = config.CleanSecret(key); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("the API key %w", err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return req, cancel, nil
}

// do sends a request. It does not follow redirects: the API sends none, and the
// key must not go to another server.
func (f *apiFlags) do(req *http.Request) (*http.Response, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	var err error
	if transport.TLSClientConfig, err = f.tls.config(); err != nil {
		return nil, err
	}
	transport.ResponseHeaderTimeout = f.timeout
	transport.DisableKeepAlives = true // one request per process
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	var ue *url.Error
	if errors.As(err, &ue) {
		return nil, fmt.Errorf("%s: %w", f.api, withCA(ue.Err)) // without the path, which has names of users
	}
	return resp, err
}

// call sends a request without a body, and reads the JSON of its answer into v if the
// answer is a success. It returns the answer as it came, too.
func (f *apiFlags) call(cmd *cobra.Command, method, path string, v any) (answer []byte, err error) {
	return f.callWith(cmd, method, path, nil, v)
}

// callWith is call with a body.
func (f *apiFlags) callWith(cmd *cobra.Command, method, path string, body []byte, v any) (answer []byte, err error) {
	req, cancel, err := f.request(cmd, method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer cancel()
	resp, err := f.do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return nil, refusal(resp)
	}
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, maxPage)); err != nil {
		return nil, fmt.Errorf("%s: the answer broke off: %w", f.api, err)
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return nil, fmt.Errorf("%s answered what is not an answer of belfry: is --api right?", f.api)
	}
	return answer, nil
}

// maxPage bounds an answer with a list, in bytes: a page has at most 1,000 sessions, and
// each node's part of it at most 64 KiB, but for that of the node that is asked.
const maxPage = 64 << 20

// refusal returns the error of an answer that is not a success.
func refusal(resp *http.Response) error {
	var p struct {
		Type, Title, Detail, Field string
		RetryAfter                 int `json:"retry_after"`
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return fmt.Errorf("the server answered %s, which is not an answer of belfry: is --api right?", resp.Status)
	}
	text := p.Detail
	if p.Field != "" {
		text = p.Field + ": " + text
	}
	if p.RetryAfter > 0 {
		text += fmt.Sprintf("; try again in %d s", p.RetryAfter)
	}
	return fmt.Errorf("%s (%d %s)", text, resp.StatusCode, p.Type[strings.LastIndexByte(p.Type, ':')+1:])
}
