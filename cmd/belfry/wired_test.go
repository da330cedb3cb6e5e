package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"belfry/config"
)

// inCommand are the settings that the command itself uses, and no package gets
// as an option. TestCommandReads holds the list.
var inCommand = []string{
	"gomaxprocs",
	"shutdown.delay", "shutdown.grace", "shutdown.pace", "shutdown.reconnect_jitter",
	"log.level", "log.format", "log.sample_first", "log.sample_every", "log.buffer",
}

// sample is a value for a setting without a range, and what other settings
// must be for it to be allowed, before and after.
type sample struct {
	value string
	with  []string
}

const natsURL, clusterListen = "nats.url=nats://127.0.0.1:4222", "nats.cluster_listen=127.0.0.1:0"

var (
	natsUser    = []string{"nats.user=u", "nats.password=p"}
	clusterUser = []string{clusterListen, "nats.cluster_user=u", "nats.cluster_password=p"}
	certificate = []string{"nats.tls.cert=c", "nats.tls.key=k"}
)

var samples = map[string]sample{
	"listen":                 {value: "127.0.0.2:0"},
	"path":                   {value: "/other"},
	"node.name":              {value: "other"},
	"proxy.protocol":         {value: "127.0.0.1:0"},
	"proxy.trusted":          {value: "10.0.0.0/8"},
	"upgrade.origins":        {value: "https://a.example"},
	"session.open_topics":    {value: "public.*"},
	"api.listen":             {value: "127.0.0.2:8081"},
	"api.monitor_listen":     {value: "127.0.0.1:8082"},
	"api.keys":               {value: "other:0123456789abcdef"},
	"api.keys_file":          {value: "keys"}, // see TestSettingsAreWired
	"api.allowed_hosts":      {value: "a.example"},
	"nats.url":               {value: "nats://127.0.0.1:4222"},
	"nats.listen":            {value: "127.0.0.1:4222"},
	"nats.cluster_listen":    {value: "127.0.0.1:6222"},
	"nats.cluster_advertise": {"a.example:6222", []string{clusterListen}},
	"nats.cluster_name":      {value: "other"},
	"nats.routes":            {"b:6222", []string{clusterListen}},
	"nats.creds":             {"x.creds", []string{natsURL}},
	"sse.path":               {value: "/events"},
	"nats.user":              {"other", natsUser},
	"nats.password":          {"other", natsUser},
	"nats.token":             {value: "other"},
	"nats.cluster_user":      {"other", clusterUser},
	"nats.cluster_password":  {"other", clusterUser},
	"nats.tls.ca":            {value: "ca"},
	"nats.tls.cert":          {"other", certificate},
	"nats.tls.key":           {"other", certificate},
}

// TestSettingsAreWired gives every setting another value and looks for a
// difference in what the packages get: a setting that is wired to nothing
// fails.
func TestSettingsAreWired(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := map[string]parts{"": fingerprint(t, wiredBase(t, nil))} // by what the sample needs of others
	if before[""] != fingerprint(t, wiredBase(t, nil)) {
		t.Fatal("what the packages get differs although no setting does: some setting is wired to nothing, and something is drawn at random instead")
	}
	defaults := config.Default()
	wired := 0
	for _, s := range defaults.Settings() {
		if slices.Contains(inCommand, s.Path) {
			continue
		}
		with := samples[s.Path].with
		base := wiredBase(t, with)
		c := wiredBase(t, with)
		if s.Path == "api.keys_file" {
			change(t, &c, s.Path, keys)
		} else {
			changeToOther(t, &c, s.Path)
		}
		needs := strings.Join(with, " ")
		if _, there := before[needs]; !there {
			before[needs] = fingerprint(t, base)
		}
		want := reaches[s.Path]
		if got := before[needs].differing(fingerprint(t, c)); got == "" || want != "" && got != want {
			t.Errorf("%s reaches %q, want %q: the options of packages that differ when it does", s.Path, got, cmp.Or(want, "some"))
		}
		wired++
	}
	if wired < 80 {
		t.Errorf("%d settings tried only", wired)
	}
}

// wiredBase is a configuration in which nothing is drawn at random.
func wiredBase(t *testing.T, with []string) config.Config {
	c := smallest()
	c.Node.Name = "one"
	for _, other := range with {
		path, text, _ := strings.Cut(other, "=")
		change(t, &c, path, text)
	}
	return c
}

// changeToOther gives a setting a value that is allowed and that it does not
// have.
func changeToOther(t *testing.T, c *config.Config, path string) {
	t.Helper()
	for _, s := range c.Settings() {
		if s.Path != path {
			continue
		}
		candidates := append(s.Ends(), s.Enum...)
		if s.Bool() {
			candidates = []string{"true", "false"}
		}
		if value := samples[path].value; value != "" {
			candidates = []string{value}
		}
		was := s.Items()
		for _, value := range candidates {
			if err := s.Set(value); err != nil {
				t.Fatalf("%s=%s: %v", path, value, err)
			}
			if !slices.Equal(was, s.Items()) && c.Validate() == nil {
				return
			}
		}
	}
	t.Fatalf("%s: no other value is known that is allowed; add a sample", path)
}

// parts are what the bus, the sessions and the API get of the settings.
type parts [3]string

// reaches are the settings that more than one part gets.
var reaches = map[string]string{
	"dev":             " sessions api",
	"api.max_payload": " bus api",
	"node.name":       " bus sessions", // its hash is the node's number in session ids
}

func (p parts) differing(other parts) (names string) {
	for i, name := range []string{" bus", " sessions", " api"} {
		if p[i] != other[i] {
			names += name
		}
	}
	return names
}

// fingerprint returns all values that the packages get of the settings.
func fingerprint(t *testing.T, c config.Config) (all parts) {
	t.Helper()
	o, err := build(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range []any{o.bus, o.sessions, o.api} {
		var b strings.Builder
		writeValue(&b, reflect.ValueOf(part))
		all[i] = b.String()
	}
	return all
}

// writeValue writes v with everything that belongs to it. Of functions, and of
// values that are no options (a logger, a running node), it says only whether
// they are there.
func writeValue(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fmt.Fprintf(b, "%s={", v.Type().Field(i).Name)
			writeValue(b, v.Field(i))
			b.WriteString("} ")
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			writeValue(b, v.Index(i))
			b.WriteByte(',')
		}
	case reflect.Map:
		var entries []string
		for i := v.MapRange(); i.Next(); {
			var e strings.Builder
			writeValue(&e, i.Key())
			writeValue(&e, i.Value())
			entries = append(entries, e.String())
		}
		sort.Strings(entries)
		b.WriteString(strings.Join(entries, ","))
	case reflect.Interface:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		b.WriteString(v.Elem().Type().String())
		if v.Elem().Kind() == reflect.Pointer {
			writeValue(b, v.Elem())
		}
	case reflect.Pointer:
		fmt.Fprintf(b, "nil:%v", v.IsNil())
		if of := v.Type().Elem(); !v.IsNil() && of.Kind() == reflect.Struct && isOption(of) {
			writeValue(b, v.Elem())
		}
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		fmt.Fprintf(b, "nil:%v", v.IsNil())
	default:
		fmt.Fprintf(b, "%v", v)
	}
}

// isOption says whether values of a type are compiled from settings: those of
// our packages are, but for the parts of a node.
func isOption(t reflect.Type) bool {
	return strings.HasPrefix(t.PkgPath(), "belfry/") && t.Name() != "Node" && t.Name() != "Server"
}
