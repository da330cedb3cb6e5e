package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Webhook is the section auth.webhook.
type Webhook struct {
	URL         []string      `yaml:"url" redact:"url" zero:"off" doc:"Backend that decides about each client that connects or logs in, before it is accepted: http://, https://, or h2c:// for HTTP/2 without TLS; several take turns (docs/webhooks.md)."`
	Timeout     time.Duration `yaml:"timeout" default:"5s" range:"10ms..1m" doc:"Time for a call, from the connection to the end of the answer; then auth.webhook.on_failure applies."`
	InFlight    int           `yaml:"in_flight" default:"256" range:"1..4096" doc:"Calls at the same time; further clients wait, at most upgrade.timeout."`
	QueueBytes  Size          `yaml:"queue_bytes" default:"16MiB" range:"64KiB..4GiB" doc:"Bytes of what is known of clients that wait for a decision, and of what their tokens grant; a further one gets 503 with Retry-After."`
	AnswerBytes Size          `yaml:"answer_bytes" default:"64KiB" range:"1KiB..1MiB" doc:"Longest answer; of a longer one the connection is closed, and auth.webhook.on_failure applies."`
	OnFailure   string        `yaml:"on_failure" default:"refuse" enum:"refuse|admit" doc:"What happens to a client while the backend does not decide: refuse answers 503 with Retry-After, admit admits the client as its token grants (needs auth.jwt)."`
	Headers     []string      `yaml:"headers" zero:"none" doc:"Header fields of the request that the backend is told, 16 at most. The token is passed on only if its field is named: authorization."`
	Cookies     []string      `yaml:"cookies" zero:"none" doc:"Cookies of the request that the backend is told, 16 at most."`
	SigningKeys []Secret      `yaml:"signing_keys" zero:"not signed" doc:"Keys that calls are signed with (Standard Webhooks), each whsec_ and the base64 of 24 to 64 bytes; several while one is replaced."`
}

// SubscribeWebhook is the section auth.subscribe_webhook.
type SubscribeWebhook struct {
	URL         []string      `yaml:"url" redact:"url" zero:"off" doc:"Backend that decides about each subscription that no pattern permits; written like auth.webhook.url (docs/webhooks.md)."`
	Timeout     time.Duration `yaml:"timeout" default:"5s" range:"10ms..1m" doc:"Time for a call; then the client gets the error undecided."`
	InFlight    int           `yaml:"in_flight" default:"256" range:"1..4096" doc:"Calls at the same time; further subscriptions wait, at most upgrade.timeout."`
	QueueBytes  Size          `yaml:"queue_bytes" default:"16MiB" range:"64KiB..4GiB" doc:"Bytes of subscriptions that wait for a decision; a further one gets the error undecided."`
	AnswerBytes Size          `yaml:"answer_bytes" default:"64KiB" range:"1KiB..1MiB" doc:"Longest answer; with a longer one the client gets the error undecided."`
	Cache       int           `yaml:"cache" default:"65536" range:"1..16777216" zero:"none" doc:"Decisions that are remembered for the time that the answer states; beyond it the least recently used one is forgotten."`
	CacheTime   time.Duration `yaml:"cache_time" default:"10m" range:"1s..24h" doc:"Longest time for which a decision is remembered, whatever the answer states."`
	SigningKeys []Secret      `yaml:"signing_keys" zero:"not signed" doc:"Keys that calls are signed with, as auth.webhook.signing_keys."`
}

// Configured says whether clients are decided about by a webhook.
func (w *Webhook) Configured() bool { return len(w.URL) > 0 }

// Configured says whether subscriptions are decided about by a webhook.
func (w *SubscribeWebhook) Configured() bool { return len(w.URL) > 0 }

// maxHookNames limits auth.webhook.headers and auth.webhook.cookies: each name is
// searched for in every request.
const maxHookNames = 16

func (c *Config) checkWebhooks(k *checks) {
	w, s := &c.Auth.Webhook, &c.Auth.SubscribeWebhook
	checkHook(k, "auth.webhook", w.URL, w.SigningKeys)
	checkHook(k, "auth.subscribe_webhook", s.URL, s.SigningKeys)
	if w.OnFailure == "admit" && !c.Auth.JWT.Configured() {
		k.fail("auth.webhook.on_failure", "admit, and without a token nothing is known of a client; set auth.jwt.secret, auth.jwt.public_key_file or auth.jwt.jwks, or refuse")
	}
	checkHookNames(k, "auth.webhook.headers", w.Headers)
	checkHookNames(k, "auth.webhook.cookies", w.Cookies)
}

func checkHookNames(k *checks, path string, names []string) {
	if n := len(names); n > maxHookNames {
		k.fail(path, "%d names; allowed are up to %d", n, maxHookNames)
	}
	for _, name := range names {
		if name == "" || strings.ContainsFunc(name, notInToken) {
			k.fail(path, "%q is not a name; allowed are letters, digits and !#$%%&'*+-.^_`|~", name)
		}
	}
}

func checkHook(k *checks, section string, urls []string, keys []Secret) {
	for _, text := range urls {
		k.when(section+".url", checkHookURL(text))
	}
	for i, key := range keys {
		if err := checkSigningKey(key.Reveal()); err != nil {
			k.fail(section+".signing_keys", "key %d %v", i+1, err)
		}
	}
}

// checkHookURL checks the URL of a backend. Errors repeat at most its scheme: the
// rest may hold a password.
func checkHookURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return errors.New("not a URL; allowed are http://host/path, https://host/path, and h2c://host/path for HTTP/2 without TLS")
	case u.Fragment != "":
		return errors.New("a URL with a fragment (#); allowed are URLs without one")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c":
		return fmt.Errorf("the scheme %.16q; allowed are http, https, and h2c for HTTP/2 without TLS", u.Scheme)
	}
	return nil
}

// checkSigningKey checks a key of the Standard Webhooks scheme.
func checkSigningKey(text string) error {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
	if n := len(secret); err != nil || n < 24 || n > 64 {
		return errors.New("is not whsec_ and the base64 of 24 to 64 random bytes; make one with: echo whsec_$(head -c 32 /dev/urandom | base64)")
	}
	return nil
}
