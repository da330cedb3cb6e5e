package main

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"belfry/auth"
	"belfry/config"
)

// inCommand are the settings that only the command uses; no package gets them
// as an option. TestCommandReads checks the list.
var inCommand = []string{
	"auth.cookie_any_origin", "auth.max_revocations",
	"shutdown.delay", "shutdown.grace", "shutdown.pace", "shutdown.reconnect_jitter",
	"gateway.drain_time", "session.presence_members", "cluster.rebalance",
	"control.socket", "control.ready_timeout",
	"log.level", "log.format", "log.sample_first", "log.sample_every", "log.buffer",
}

// sample is a value for a setting without a range, and the values that other
// settings need so that it is allowed, before and after the change.
type sample struct {
	value string
	with  []string
}

const natsURL, clusterListen = "nats.url=nats://127.0.0.1:4222", "nats.cluster_listen=127.0.0.1:0"

const (
	hookURL    = "https://app.example/hook"
	signingKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// jwtSecret is long enough for HS256.
const jwtSecret = "a-secret-of-at-least-32-bytes-for-HS256"

var (
	jwtKey      = []string{"auth.jwt.secret=" + jwtSecret}
	natsUser    = []string{"nats.user=u", "nats.password=p"}
	clusterUser = []string{clusterListen, "nats.cluster_user=u", "nats.cluster_password=p"}
	certificate = []string{"nats.tls.cert=c", "nats.tls.key=k"}
	clientCert  = []string{"tls.cert=c", "tls.key=k"}
	apiCert     = []string{"api.tls.cert=c", "api.tls.key=k"}
)

var samples = map[string]sample{
	"listen":                              {value: "127.0.0.2:0"},
	"path":                                {value: "/other"},
	"node.name":                           {value: "other"},
	"proxy.protocol":                      {value: "127.0.0.1:0"},
	"proxy.trusted":                       {value: "10.0.0.0/8"},
	"upgrade.origins":                     {value: "https://a.example"},
	"auth.subscribe":                      {value: "public.*"},
	"auth.publish":                        {value: "public.*"},
	"auth.cookie":                         {"token", jwtKey},
	"auth.anonymous":                      {"true", jwtKey},
	"auth.jwt.secret":                     {"another-secret-of-32-bytes-or-more", jwtKey},
	"auth.jwt.public_key_file":            {"key", jwtKey}, // see TestSettingsAreWired
	"auth.jwt.jwks":                       {"https://id.example/keys", jwtKey},
	"auth.jwt.algorithms":                 {"HS256", jwtKey},
	"auth.jwt.issuer":                     {value: "https://id.example"},
	"auth.jwt.audience":                   {value: "push"},
	"auth.jwt.required":                   {value: "tenant"},
	"auth.jwt.uid_claim":                  {value: "other"},
	"auth.jwt.topics_claim":               {value: "other"},
	"auth.jwt.subscribe_claim":            {value: "other"},
	"auth.jwt.publish_claim":              {value: "other"},
	"auth.jwt.meta_claim":                 {value: "other"},
	"auth.jwt.limits_claim":               {value: "other"},
	"auth.jwt.device_class_claim":         {value: "other"},
	"session.max_per_user_class":          {value: "phone:1"},
	"api.listen":                          {value: "127.0.0.2:8081"},
	"api.monitor_listen":                  {value: "127.0.0.1:8082"},
	"api.keys":                            {value: "other:0123456789abcdef"},
	"api.keys_file":                       {value: "keys"}, // see TestSettingsAreWired
	"api.allowed_hosts":                   {value: "a.example"},
	"nats.url":                            {value: "nats://127.0.0.1:4222"},
	"nats.listen":                         {value: "127.0.0.1:4222"},
	"nats.cluster_listen":                 {value: "127.0.0.1:6222"},
	"nats.cluster_advertise":              {"a.example:6222", []string{clusterListen}},
	"nats.cluster_name":                   {value: "other"},
	"nats.routes":                         {"b:6222", []string{clusterListen}},
	"nats.creds":                          {"x.creds", []string{natsURL}},
	"gateway.routes":                      {value: `{name: a, url: "http://127.0.0.1:1"}`},
	"gateway.signing_keys":                {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", []string{`gateway.routes={name: a, url: "http://127.0.0.1:1"}`}},
	"sse.path":                            {value: "/events"},
	"nats.user":                           {"other", natsUser},
	"nats.password":                       {"other", natsUser},
	"nats.token":                          {value: "other"},
	"nats.cluster_user":                   {"other", clusterUser},
	"nats.cluster_password":               {"other", clusterUser},
	"nats.tls.ca":                         {value: "ca"},
	"nats.tls.cert":                       {"other", certificate},
	"nats.tls.key":                        {"other", certificate},
	"auth.webhook.url":                    {value: hookURL},
	"auth.webhook.on_failure":             {"admit", jwtKey},
	"auth.webhook.headers":                {value: "origin"},
	"auth.webhook.cookies":                {value: "sid"},
	"auth.webhook.signing_keys":           {value: signingKey},
	"auth.subscribe_webhook.url":          {value: hookURL},
	"auth.subscribe_webhook.signing_keys": {value: signingKey},
	"gomaxprocs":                          {value: "7"},
	"cluster.events":                      {value: "online"},
	"session.presence":                    {value: "room.*"},
	"session.join_leave":                  {value: "room.*"},
	"tls.cert":                            {"other", clientCert},
	"tls.key":                             {"other", clientCert},
	"tls.certificates":                    {"a:b", clientCert},
	"tls.listen":                          {"127.0.0.2:0", append([]string{"listen=127.0.0.1:0,127.0.0.2:0"}, clientCert...)},
	"tls.max_connections":                 {"7", clientCert},
	"api.tls.cert":                        {"other", apiCert},
	"api.tls.key":                         {"other", apiCert},
	"api.tls.client_ca":                   {"other", apiCert},
}

// TestSettingsAreWired changes each setting and looks for a difference in the
// options of the packages. A setting that changes no option fails.
func TestSettingsAreWired(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := map[string]parts{"": fingerprint(t, wiredBase(t, nil))} // because of the values that the sample needs
	if before[""] != fingerprint(t, wiredBase(t, nil)) {
		t.Fatal("the options of the packages differ although no setting does: an option is random")
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
		switch s.Path {
		case "api.keys_file":
			change(t, &c, s.Path, keys)
		case "auth.jwt.public_key_file":
			change(t, &c, s.Path, publicKeyFile(t))
		default:
			changeToOther(t, &c, s.Path)
		}
		needs := strings.Join(with, " ")
		if _, there := before[needs]; !there {
			before[needs] = fingerprint(t, base)
		}
		want := reaches[s.Path]
		if got := before[needs].differing(fingerprint(t, c)); got == "" || want != "" && got != want {
			t.Errorf("%s changes options of %q, want %q", s.Path, got, cmp.Or(want, "some"))
		}
		wired++
	}
	if wired < 80 {
		t.Errorf("only %d settings tried", wired)
	}
}

// publicKeyFile returns a file with a public key.
func publicKeyFile(t *testing.T) string {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wiredBase returns a configuration without random values.
func wiredBase(t *testing.T, with []string) config.Config {
	c := smallest()
	c.Node.Name = "one"
	for _, other := range with {
		path, text, _ := strings.Cut(other, "=")
		change(t, &c, path, text)
	}
	return c
}

// changeToOther gives a setting another allowed value.
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
	t.Fatalf("%s: the test knows no other allowed value; add a sample", path)
}

// parts are the options of the bus, the sessions, the API, authentication, the
// gateway, the webhooks, the TLS listeners, the certificates, the cluster, events,
// reports, announcements and Idempotency-Keys.
type parts [13]string

// reaches are the settings that change options of more than one part.
var reaches = map[string]string{
	"dev":                        " sessions api auth",
	"auth.subscribe":             " sessions auth hooks",
	"auth.webhook.url":           " sessions auth hooks",
	"upgrade.retry_after":        " sessions auth hooks bridge",
	"upgrade.timeout":            " sessions hooks",
	"api.max_payload":            " bus api announcer",
	"gateway.routes":             " sessions gateway",
	"session.max_per_user":       " sessions cluster",
	"session.max_per_user_class": " sessions cluster",
	"session.per_user_policy":    " sessions cluster",

	"node.name": " bus sessions gateway", // the hash of the name is the node's number in session ids
}

func (p parts) differing(other parts) (names string) {
	for i, name := range []string{" bus", " sessions", " api", " auth", " gateway", " hooks", " bridge", " certs", " cluster", " events", " report", " announcer", " keys"} {
		if p[i] != other[i] {
			names += name
		}
	}
	return names
}

// fingerprint returns all values in the options of the packages.
func fingerprint(t *testing.T, c config.Config) (all parts) {
	t.Helper()
	o, err := build(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range []any{o.bus, o.sessions, o.api, o.auth, o.gateway, o.hooks, o.bridge, o.certs, o.cluster, o.events, o.report, o.announcer, o.keys} {
		var b strings.Builder
		writeValue(&b, reflect.ValueOf(part))
		all[i] = b.String()
	}
	return all
}

// writeValue writes v with everything in it. Of functions and of values that
// are not options (a logger, a running node) it writes only whether they are
// nil.
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
		if of := v.Elem().Type(); of.Kind() == reflect.Pointer || of.Kind() == reflect.Struct && isOption(of) {
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

// isOption says whether values of a type are made from settings: types of our
// packages are, except the parts of a node.
func isOption(t reflect.Type) bool {
	return strings.HasPrefix(t.PkgPath(), "belfry/") && t.Name() != "Node" && t.Name() != "Server" && t != reflect.TypeFor[belfry]() && !slices.Contains(running, t)
}

// running are types of running parts, which are no options.
var running = []reflect.Type{reflect.TypeFor[auth.Authenticator](), reflect.TypeFor[auth.Webhook](), reflect.TypeFor[auth.SubscribeWebhook]()}
