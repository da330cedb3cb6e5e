package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const jwtSecret = "0123456789abcdef0123456789abcdef"

// The settings of auth and auth.jwt are checked: each fault is one error that names
// the setting, and no error shows a secret or a password.
func TestAuthSettings(t *testing.T) {
	for _, tc := range []struct {
		name, setting, says string // setting "": allowed
		change              func(*Config)
	}{
		{"all", "", "", func(c *Config) {
			c.Auth.JWT.Secret, c.Auth.JWT.PublicKeyFile, c.Auth.JWT.JWKS = jwtSecret, []string{"a.pem"}, "https://u:p@id.example/keys?x=y"
			c.Auth.JWT.Algorithms = slices.Clone(jwtAlgorithms)
			c.Auth.Publish, c.Auth.Cookie, c.Upgrade.Origins = []string{"chat.{uid}"}, "__Host-auth", []string{"https://a.example"}
		}},
		{"publish pattern", "auth.publish", "topics followed by .*", func(c *Config) { c.Auth.Publish = []string{"a.>"} }},
		{"cookie without keys", "auth.cookie", "nothing verifies", func(c *Config) { c.Auth.Cookie = "auth" }},
		{"name of a cookie", "auth.cookie", "is not the name of a cookie", func(c *Config) { c.Auth.JWT.JWKS, c.Auth.Cookie = "keys.json", "a;b" }},
		{"cookie for any page", "auth.cookie", "any web page", func(c *Config) {
			c.Auth.JWT.JWKS, c.Auth.Cookie, c.Upgrade.Origins = "keys.json", "auth", []string{"https://a.example", "*"}
		}},
		{"cookie for pages without an origin", "auth.cookie", "any web page", func(c *Config) {
			c.Auth.JWT.JWKS, c.Auth.Cookie, c.Upgrade.Origins = "keys.json", "auth", []string{"null"}
		}},
		{"cookie for any page, on purpose", "", "", func(c *Config) {
			c.Auth.JWT.JWKS, c.Auth.Cookie, c.Upgrade.Origins, c.Auth.CookieAnyOrigin = "keys.json", "auth", []string{"*", "null"}, true
		}},
		{"short secret", "auth.jwt.secret", "has 31 bytes; allowed are 32 or more", func(c *Config) { c.Auth.JWT.Secret = Secret(jwtSecret[1:]) }},
		{"eight files", "", "", func(c *Config) { c.Auth.JWT.PublicKeyFile = strings.Split("abcdefgh", "") }},
		{"nine files", "auth.jwt.public_key_file", "9 files; allowed are up to 8", func(c *Config) { c.Auth.JWT.PublicKeyFile = strings.Split("abcdefghi", "") }},
		{"alg none", "auth.jwt.algorithms", `"none"; allowed are HS256`, func(c *Config) { c.Auth.JWT.Algorithms = []string{"ES256", "none"} }},
		{"alg in another case", "auth.jwt.algorithms", `"es256"`, func(c *Config) { c.Auth.JWT.Algorithms = []string{"es256"} }},
		{"no name of a claim", "auth.jwt.topics_claim", "empty; allowed is the name of a claim", func(c *Config) { c.Auth.JWT.TopicsClaim = "" }},
		{"one claim for two things", "auth.jwt.publish_claim", `"subscribe" is the claim of auth.jwt.subscribe_claim too`, func(c *Config) { c.Auth.JWT.PublishClaim = "subscribe" }},
		{"JWKS on this machine", "", "", func(c *Config) { c.Auth.JWT.JWKS = "http://[::1]:8080/keys" }},
		{"JWKS on this machine, by name", "", "", func(c *Config) { c.Auth.JWT.JWKS = "http://localhost/keys" }},
		{"JWKS without TLS", "auth.jwt.jwks", "http:// lets anybody on the way replace the keys", func(c *Config) { c.Auth.JWT.JWKS = "http://u:hidden@10.0.0.1/keys" }},
		{"JWKS, a name like localhost", "auth.jwt.jwks", "http:// lets", func(c *Config) { c.Auth.JWT.JWKS = "http://localhost.example/keys" }},
		{"JWKS, scheme", "auth.jwt.jwks", `the scheme "ftp"`, func(c *Config) { c.Auth.JWT.JWKS = "ftp://u:hidden@id.example/keys" }},
		{"JWKS, not a URL", "auth.jwt.jwks", "not a URL", func(c *Config) { c.Auth.JWT.JWKS = "https://u:hidden@id example/keys" }},
		{"JWKS, no host", "auth.jwt.jwks", "not a URL", func(c *Config) { c.Auth.JWT.JWKS = "https:///keys" }},
	} {
		expectOne(t, tc.name, tc.setting, tc.says, tc.change)
	}
	for _, claim := range []string{"iss", "aud", "exp", "nbf", "iat"} {
		expectOne(t, claim, "auth.jwt.uid_claim", claim+" has a meaning of its own", func(c *Config) { c.Auth.JWT.UIDClaim = claim })
	}
}

// expectOne changes the defaults and wants one error, of a setting; none if setting is
// "". No error may show "hidden".
func expectOne(t *testing.T, name, setting, says string, change func(*Config)) {
	t.Helper()
	c := Default()
	change(&c)
	err := c.Validate()
	var found Errors
	errors.As(err, &found)
	switch {
	case setting == "" && err == nil:
	case setting == "", len(found) != 1, found[0].Setting != setting, !strings.Contains(found[0].Detail, says):
		t.Errorf("%s: %v; want one error of %q: %s", name, err, setting, says)
	case strings.Contains(err.Error(), "hidden"):
		t.Errorf("%s: the error shows a secret: %v", name, err)
	}
}

// Clients without a token are admitted only while nothing says how they prove who they
// are, or if the operator says so.
func TestAdmits(t *testing.T) {
	for name, configure := range map[string]func(*Auth){
		"nothing":             func(*Auth) {},
		"a secret":            func(a *Auth) { a.JWT.Secret = jwtSecret },
		"a key file":          func(a *Auth) { a.JWT.PublicKeyFile = []string{"a.pem"} },
		"a JWKS":              func(a *Auth) { a.JWT.JWKS = "keys.json" },
		"a webhook":           func(a *Auth) { a.Webhook.URL = []string{"http://a"} },
		"a subscribe webhook": func(a *Auth) { a.SubscribeWebhook.URL = []string{"http://a"} }, // says nothing about who clients are
	} {
		a := Default().Auth
		configure(&a)
		byDefault := name == "nothing" || name == "a subscribe webhook"
		if got := a.Admits(); got != byDefault {
			t.Errorf("%s: admits clients without a token: %v", name, got)
		}
		if a.Anonymous = "true"; !a.Admits() {
			t.Errorf("%s, auth.anonymous=true: refused", name)
		}
		if a.Anonymous = "false"; a.Admits() {
			t.Errorf("%s, auth.anonymous=false: admitted", name)
		}
	}
}

// Defaults that protect: without them a token could live for ever, and a backend that
// is down would open the door.
func TestAuthDefaults(t *testing.T) {
	c := Default()
	a := &c.Auth
	if !slices.Equal(a.JWT.Required, []string{"exp"}) || a.MaxLifetime != 24*time.Hour || a.Anonymous != "auto" || a.CookieAnyOrigin || a.MaxToken != 4*KiB ||
		a.Webhook.OnFailure != "refuse" || len(a.Subscribe)+len(a.Publish) != 0 || c.TLS.MinVersion != "1.2" || c.API.TLS.MinVersion != "1.2" {
		t.Errorf("%+v", a)
	}
}

// Neither config print nor its JSON shows a secret or the password of a URL, wherever
// it was set.
func TestPrintHidesIdentity(t *testing.T) {
	const key = "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
	const at = "https://me:hunter2@host.example/x"
	l, err := Load(Inputs{Env: []string{
		"BELFRY_AUTH_JWT_SECRET=hunter2" + jwtSecret,
		"BELFRY_AUTH_JWT_JWKS=" + at,
		"BELFRY_AUTH_WEBHOOK_URL=" + at, "BELFRY_AUTH_WEBHOOK_SIGNING_KEYS=" + key,
		"BELFRY_AUTH_SUBSCRIBE_WEBHOOK_URL=" + at, "BELFRY_AUTH_SUBSCRIBE_WEBHOOK_SIGNING_KEYS=" + key,
		"BELFRY_GATEWAY_SIGNING_KEYS=" + key,
		`BELFRY_GATEWAY_ROUTES=[{name: a, url: "` + at + `"}, {name: b, urls: ["` + at + `", "` + at + `"]}]`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := l.Print(&printed, l.Sources, &l.Config, false); err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(l.Show(l.Sources))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"printed": printed.String(), "as JSON": string(shown)} {
		for _, secret := range []string{"hunter2", key[6:20]} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %q is shown:\n%s", what, secret, text)
			}
		}
		if n := strings.Count(text, Redacted); n < 10 { // 4 secrets and 6 URLs
			t.Errorf("%s: %d secrets are mentioned:\n%s", what, n, text)
		}
	}
	back := newLoader()
	back.file("printed", printed.Bytes())
	if len(back.errs) != 0 || back.loaded.Auth.JWT.Configured() || back.loaded.Auth.Webhook.Configured() || len(back.loaded.Gateway.SigningKeys) != 0 {
		t.Errorf("fed back: %v, %+v", back.errs, back.loaded.Auth)
	}
}

// The placeholder of config print does not become a secret or a part of a URL.
func TestPlaceholderIsRefused(t *testing.T) {
	for _, env := range []string{
		"BELFRY_AUTH_JWT_SECRET=" + Redacted + jwtSecret, "BELFRY_AUTH_WEBHOOK_SIGNING_KEYS=" + Redacted,
		"BELFRY_AUTH_WEBHOOK_URL=http://" + Redacted + "@a", "BELFRY_AUTH_JWT_JWKS=https://" + Redacted + "@a",
	} {
		if _, err := Load(Inputs{Env: []string{env}}); err == nil || !strings.Contains(err.Error(), "stands for a secret that was not printed") {
			t.Errorf("%s: %v", env, err)
		}
	}
}
