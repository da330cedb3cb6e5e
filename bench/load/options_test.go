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
		"mode":                 func(o *Options) { o.Mode = "dance" },
		"--connections":        func(o *Options) { o.Connections = 0 },
		"--rate":               func(o *Options) { o.Rate = -1 },
		"--size":               func(o *Options) { o.Size = 10 },
		"--uids":               func(o *Options) { o.Wire.Users = o.Connections + 1 },
		"--share":              func(o *Options) { o.Share = 1.5 },
		"--header":             func(o *Options) { o.Wire.Headers = []string{"no colon"} },
		"--reply":              func(o *Options) { o.Reply = []string{"no equals"} },
		"--ports":              func(o *Options) { o.Ports = "x" },
		"--echo":               func(o *Options) { o.Echo = "hello" },
		"--publish-body":       func(o *Options) { o.Publish.Body = "hello" },
		"http://":              func(o *Options) { o.Publish.API = "https://example.com" },
		"--api, --publish-url": func(o *Options) { o.Publish.API = "" },
		"--api or --push-url":  func(o *Options) { o.Mode, o.Publish.API = Push, "" },
	} {
		o := Defaults(Fanout)
		o.Publish.API = "http://127.0.0.1:1"
		if err := o.Validate(); err != nil {
			t.Fatalf("the defaults: %v", err)
		}
		o = Defaults(Fanout)
		o.Publish.API = "http://127.0.0.1:1"
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

func TestValidateCompletes(t *testing.T) {
	o := Defaults(Push)
	o.Publish.API, o.Publish.Key, o.Connections, o.Wire.Topics = "http://h:1/", "k", 505, 3
	o.Reply, o.Wire.OnOpen = []string{`PING\r\n=PONG\r\n`, "2=3"}, []string{`{"a":"\\n"}\x1e`, `SUB {uid} {n}\r\n`}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if o.Wire.Users != 50 || o.Concurrency != 50 || o.sessionsOf(4) != 11 || o.sessionsOf(5) != 10 {
		t.Errorf("%d users, concurrency %d", o.Wire.Users, o.Concurrency)
	}
	if !slices.Equal(o.Wire.Answers, []bench.Answer{{To: "PING\r\n", With: "PONG\r\n"}, {To: "2", With: "3"}}) ||
		!slices.Equal(o.Wire.OnOpen, []string{"{\"a\":\"\\n\"}\x1e", "SUB {uid} {n}\r\n"}) || !o.Wire.Wrapped || o.Wire.Path != bench.DevPath(3) {
		t.Errorf("%+v", o.Wire)
	}
	if p := o.Publish; p.AllURL != "http://h:1/v1/all" || p.UserURL != "http://h:1/v1/users/{uid}" || !slices.Equal(p.Headers, []string{"Authorization: Bearer k"}) {
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
		o := Defaults(Connect)
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
		o := Defaults(Connect)
		o.Target, o.Wire.Host = tt.target, tt.given
		if err := o.Validate(); err != nil || o.Wire.Host != tt.want {
			t.Errorf("%+v: %q, %v", tt, o.Wire.Host, err)
		}
	}
	o := Defaults(Connect)
	o.Target = ""
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "--target: missing") {
		t.Error(err)
	}
}

func TestTable(t *testing.T) {
	o := Defaults(Fanout)
	r := newReport(&o, 2)
	r.Open = 10_000
	r.figure("rate", 1234567.4, "/s")
	r.figure("share", 0.01234, "%")
	r.figure("count", 3, "")
	r.problem("it broke")
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10,000 of 10,000", "| rate   | 1,234,567 /s |", "| share  |     0.0123 % |", "| count  |            3 |", "FAILED: it broke"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	for v, want := range map[float64]string{0: "0", -1234: "-1,234", 99.96: "100.0", 1.005: "1.00", 123.4: "123", 0.5: "0.500", 1e-9: "0.000000"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
