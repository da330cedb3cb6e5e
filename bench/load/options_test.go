package load

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"belfry/bench"
)

func TestParsePorts(t *testing.T) {
	for in, want := range map[string][]uint16{
		"9000":              {9000},
		"9000-9002":         {9000, 9001, 9002},
		"1, 5-6,65535":      {1, 5, 6, 65535},
		"9000-9000":         {9000},
		"":                  nil,
		"0":                 nil,
		"65536":             nil,
		"9000-":             nil,
		"-5":                nil,
		"5-4":               nil,
		"a":                 nil,
		"1,,2":              nil,
		"1-1001":            nil,
		"1-600,700-1200":    nil,
		"9000-9002-9003":    nil,
		"18446744073709551": nil,
	} {
		got, err := ParsePorts(in)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "--ports") {
			t.Errorf("%q: %v does not name the flag", in, err)
		}
	}
}

func TestValidateNamesTheFlag(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--connections":        func(o *Options) { o.Connections = 0 },
		"--rate":               func(o *Options) { o.Rate = -1 },
		"--size":               func(o *Options) { o.Size = 10 },
		"--uids":               func(o *Options) { o.Users = o.Connections + 1 },
		"--share":              func(o *Options) { o.Mode, o.Share = Slow, 1.5 },
		"--header":             func(o *Options) { o.Headers = []string{"no colon"} },
		"--reply":              func(o *Options) { o.Reply = []string{"no equals"} },
		"--ports":              func(o *Options) { o.Ports = "x" },
		"--echo":               func(o *Options) { o.Mode, o.Echo, o.Duration = Echo, "hello", 1e9 },
		"--publish-body":       func(o *Options) { o.Publish.Body = "hello" },
		"http://":              func(o *Options) { o.Publish.API = "https://example.com" },
		"--api, --publish-url": func(o *Options) { o.Publish.API = "" },
		"--api or --push-url":  func(o *Options) { o.Mode, o.Publish.API, o.Concurrency, o.Duration = Push, "", 1, 1e9 },
	} {
		o := defaults(Fanout)
		o.Publish.API = "http://127.0.0.1:1"
		if err := valid(&o); err != nil {
			t.Fatalf("the defaults: %v", err)
		}
		o = defaults(Fanout)
		o.Publish.API = "http://127.0.0.1:1"
		change(&o)
		if err := valid(&o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

func TestValidateCompletes(t *testing.T) {
	o := defaults(Push)
	o.Publish.API, o.Publish.Key, o.Connections, o.Topics = "http://h:1/", "k", 505, 3
	o.Reply, o.OnOpen = []string{`PING\r\n=PONG\r\n`, "2=3"}, []string{`{"a":"\\n"}\x1e`, `SUB {uid} {n}\r\n`}
	if err := valid(&o); err != nil {
		t.Fatal(err)
	}
	if o.wire.Users != 50 || o.Concurrency != 50 {
		t.Errorf("%d users, concurrency %d", o.wire.Users, o.Concurrency)
	}
	if !slices.Equal(o.wire.Answers, []bench.Answer{{To: "PING\r\n", With: "PONG\r\n"}, {To: "2", With: "3"}}) ||
		!slices.Equal(o.wire.OnOpen, []string{"{\"a\":\"\\n\"}\x1e", "SUB {uid} {n}\r\n"}) || !o.wire.Wrapped || o.wire.Path != bench.DevPath(3) {
		t.Errorf("%+v", o.wire)
	}
	if p := o.Publish; p.AllURL != "http://h:1/v1/all" || p.UserURL != "http://h:1/v1/users/{uid}" || p.key() != "k" {
		t.Errorf("%+v", p)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		target  string
		sources []string
		want    string // or what the error begins with
	}{
		{"localhost", nil, "[127.0.0.1:9000 127.0.0.1:9001] []"},
		{"127.0.0.9", []string{"127.0.0.2", "127.0.0.3"}, "[127.0.0.9:9000 127.0.0.9:9001] [127.0.0.2 127.0.0.3]"},
		{"::1", nil, "[[::1]:9000 [::1]:9001] []"},
		{"::1", []string{"::1"}, "[[::1]:9000 [::1]:9001] [::1]"},
		{"::ffff:127.0.0.1", nil, "[127.0.0.1:9000 127.0.0.1:9001] []"},
		{"127.0.0.1", []string{"elsewhere"}, `--sources "elsewhere"`},
		{"127.0.0.1", []string{"::1"}, "--target: address 127.0.0.1: no suitable address found (an IPv6 address, as --sources are)"},
		{"127.0.0.1", []string{"127.0.0.1", "::1"}, "--sources ::1: of another family than 127.0.0.1"},
		{"fe80::1%lo", nil, "--target fe80::1%lo"},
	} {
		o := defaults(Connect)
		o.Target, o.Ports, o.Sources = tt.target, "9000-9001", tt.sources
		targets, sources, err := o.addresses()
		if got := fmt.Sprint(targets, sources); got != tt.want && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s from %v: %s, %v", tt.target, tt.sources, got, err)
		}
	}
}

// The Host header has the name that the user gave.
func TestHostHeader(t *testing.T) {
	for _, tt := range []struct{ target, given, want string }{
		{"push.example", "", "push.example:{port}"},
		{"push.example", "other", "other"},
		{"::1", "", ""},
		{"[::1]", "", ""},
		{"127.0.0.1", "", ""},
	} {
		o := defaults(Connect)
		o.Target, o.Host = tt.target, tt.given
		if err := valid(&o); err != nil || o.wire.Host != tt.want {
			t.Errorf("%+v: %q, %v", tt, o.wire.Host, err)
		}
	}
	o := defaults(Connect)
	o.Target = ""
	if err := valid(&o); err == nil || !strings.Contains(err.Error(), "--target: missing") {
		t.Error(err)
	}
}

// The smallest payload that flags allow is the smallest that there is.
func TestSmallestPayload(t *testing.T) {
	o := defaults(Connect)
	if o.Size = bench.MinPayload; valid(&o) != nil {
		t.Error(valid(&o))
	}
	if o.Size--; valid(&o) == nil {
		t.Errorf("%d is allowed", o.Size)
	}
}
