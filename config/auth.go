package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Auth is the section auth.
type Auth struct {
	Anonymous       string        `yaml:"anonymous" default:"auto" enum:"auto|true|false" doc:"Whether a client without a token is admitted, as a session without a user. auto: only while no other setting of auth says how clients prove who they are."`
	Subscribe       []string      `yaml:"subscribe" zero:"none" dev:"*" doc:"Topics that every client may subscribe to: names, names followed by .* (public.*), or * for all. A whole token may be {uid}, which stands for the client's own user id (inbox.{uid})."`
	Publish         []string      `yaml:"publish" zero:"none" doc:"Topics that every belfry.v1 client may publish to, written as in auth.subscribe. To users, sessions and all a client may publish only with *."`
	Cookie          string        `yaml:"cookie" zero:"none" doc:"Name of a cookie that may carry the token. Browsers send it with requests of any page, so upgrade.origins must name the pages that may connect."`
	CookieAnyOrigin bool          `yaml:"cookie_any_origin" doc:"Allow auth.cookie together with * or null in upgrade.origins. Every web page can then act in the name of its visitors."`
	MaxToken        Size          `yaml:"max_token" default:"4KiB" range:"64..16KiB" doc:"Longest token; a longer one gets 401, in an auth command the error bad_request. A token in the request also counts for upgrade.max_head, one in a command for session.max_message."`
	Verifiers       int           `yaml:"verifiers" range:"1..256" zero:"one for each core" doc:"Tokens that are verified at the same time."`
	Queue           int           `yaml:"queue" default:"4096" range:"1..1048576" doc:"Tokens that may wait to be verified; a client with a further one gets 503 with Retry-After."`
	MaxLifetime     time.Duration `yaml:"max_lifetime" default:"24h" range:"1m..8760h" zero:"no limit" doc:"Longest time from a token's iat to its end; sessions of older tokens end, and a token without iat must expire within this time. A revocation is remembered for as long."`
	MaxRevocations  int           `yaml:"max_revocations" default:"65536" range:"1..16777216" doc:"Users whose tokens can be revoked at the same time; beyond it POST /v1/users/{uid}/expire gets 507."`

	JWT              JWT              `yaml:"jwt" doc:"JSON Web Tokens: who signs them, and what is read from them."`
	Webhook          Webhook          `yaml:"webhook" doc:"A backend that decides about clients, alone or after the token."`
	SubscribeWebhook SubscribeWebhook `yaml:"subscribe_webhook" doc:"A backend that decides about subscriptions that no pattern permits."`
}

// JWT is the section auth.jwt.
type JWT struct {
	Secret         Secret        `yaml:"secret" zero:"none" doc:"Secret of HS256, HS384 and HS512; at least 32, 48 and 64 bytes."`
	PublicKeyFile  []string      `yaml:"public_key_file" zero:"none" doc:"PEM files with public keys or certificates of RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) and Ed25519."`
	JWKS           string        `yaml:"jwks" redact:"url" zero:"none" doc:"File or https:// URL of a JWK set, at most 1 MiB and 128 keys. A URL must answer within 10 s and may redirect on its own host."`
	JWKSRefresh    time.Duration `yaml:"jwks_refresh" default:"5m" range:"10s..24h" doc:"Time between two readings of auth.jwt.jwks and auth.jwt.public_key_file. What was read last stays in force while a reading fails."`
	JWKSInterval   time.Duration `yaml:"jwks_interval" default:"10s" range:"1s..1h" doc:"Least time between two readings of auth.jwt.jwks because of a token with an unknown key id."`
	Algorithms     []string      `yaml:"algorithms" zero:"those that fit the keys" doc:"Signature algorithms that are allowed: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA."`
	Issuer         string        `yaml:"issuer" zero:"any" doc:"Issuer that a token must have (iss)."`
	Audience       []string      `yaml:"audience" zero:"any" doc:"Audiences, one of which a token must have (aud)."`
	Leeway         time.Duration `yaml:"leeway" default:"30s" range:"1s..5m" zero:"none" doc:"How far this node's clock and the issuer's may differ."`
	Required       []string      `yaml:"required" default:"exp" zero:"none" doc:"Claims that a token must have."`
	UIDClaim       string        `yaml:"uid_claim" default:"sub" doc:"Claim with the user id; a token must have it."`
	TopicsClaim    string        `yaml:"topics_claim" default:"topics" doc:"Claim with topics that the session is subscribed to from the start: a list, or one."`
	SubscribeClaim string        `yaml:"subscribe_claim" default:"subscribe" doc:"Claim with patterns of topics that the client may subscribe to, beside auth.subscribe."`
	PublishClaim   string        `yaml:"publish_claim" default:"publish" doc:"Claim with patterns of topics that the client may publish to, beside auth.publish."`
	MetaClaim      string        `yaml:"meta_claim" default:"meta" doc:"Claim with a JSON object of at most 1 KiB, which webhooks and the gateway are told."`
	LimitsClaim    string        `yaml:"limits_claim" default:"limits" doc:"Claim with limits of the session: a JSON object with ping_interval, idle, idle_read, idle_write, topics, messages (a second)."`
	DeviceClaim    string        `yaml:"device_class_claim" default:"device_class" doc:"Claim with the class of the client's device, for session.max_per_user_class: 1 to 32 of A-Z a-z 0-9 _ - and dots, such as phone or web."`
	Cache          Size          `yaml:"cache" default:"4MiB" range:"64KiB..1GiB" zero:"none" doc:"Memory for tokens whose signature is known to be valid. A client that brings such a token is decided about at once; its times and revocations are checked again."`
}

// jwtAlgorithms are those of package auth.
var jwtAlgorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Configured says whether there are keys for tokens.
func (j *JWT) Configured() bool {
	return j.Secret != "" || len(j.PublicKeyFile) > 0 || j.JWKS != ""
}

// Admits says whether clients without a token are admitted.
func (a *Auth) Admits() bool {
	return a.Anonymous == "true" || a.Anonymous == "auto" && !a.JWT.Configured() && !a.Webhook.Configured()
}

func (c *Config) checkAuth(k *checks) {
	a := &c.Auth
	for _, pattern := range a.Subscribe {
		k.when("auth.subscribe", checkPattern(pattern))
	}
	for _, pattern := range a.Publish {
		k.when("auth.publish", checkPattern(pattern))
	}
	for _, pattern := range c.Session.Presence {
		k.when("session.presence", checkPattern(pattern))
	}
	switch {
	case a.Anonymous == "false" && !a.JWT.Configured() && !a.Webhook.Configured():
		k.fail("auth.anonymous", "false, and no client could prove who it is; set auth.jwt.secret, auth.jwt.public_key_file, auth.jwt.jwks or auth.webhook.url")
	case a.Cookie == "":
	case !a.JWT.Configured():
		k.fail("auth.cookie", "carries a token that nothing verifies; set auth.jwt.secret, auth.jwt.public_key_file or auth.jwt.jwks")
	case strings.ContainsFunc(a.Cookie, notInToken):
		k.fail("auth.cookie", "%q is not the name of a cookie; allowed are letters, digits and !#$%%&'*+-.^_`|~", a.Cookie)
	case !a.CookieAnyOrigin && (slices.Contains(c.Upgrade.Origins, "*") || slices.Contains(c.Upgrade.Origins, "null")):
		k.fail("auth.cookie", "any web page could connect in the name of its visitors, because upgrade.origins allows * or null; list the origins of your pages, or set auth.cookie_any_origin=true")
	}
	a.JWT.check(k)
	c.checkWebhooks(k)
}

// notInToken says whether a character cannot be in a token of HTTP (RFC 9110 §5.6.2).
func notInToken(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func (j *JWT) check(k *checks) {
	if n := len(j.Secret); n > 0 && n < 32 {
		k.fail("auth.jwt.secret", "has %d bytes; allowed are 32 or more (RFC 7518 §3.2)", n)
	}
	if n := len(j.PublicKeyFile); n > 8 {
		k.fail("auth.jwt.public_key_file", "%d files; allowed are up to 8, because a token may have to be tried with each", n)
	}
	if j.JWKS != "" {
		k.when("auth.jwt.jwks", checkJWKS(j.JWKS))
	}
	for _, name := range j.Algorithms {
		if !slices.Contains(jwtAlgorithms, name) {
			k.fail("auth.jwt.algorithms", "%.16q; allowed are %s", name, strings.Join(jwtAlgorithms, ", "))
		}
	}
	claims := map[string]string{}
	for _, c := range []struct{ setting, claim string }{
		{"auth.jwt.uid_claim", j.UIDClaim}, {"auth.jwt.topics_claim", j.TopicsClaim}, {"auth.jwt.subscribe_claim", j.SubscribeClaim},
		{"auth.jwt.publish_claim", j.PublishClaim}, {"auth.jwt.meta_claim", j.MetaClaim}, {"auth.jwt.limits_claim", j.LimitsClaim},
		{"auth.jwt.device_class_claim", j.DeviceClaim},
	} {
		switch other := claims[c.claim]; {
		case c.claim == "":
			k.fail(c.setting, "empty; allowed is the name of a claim")
		case slices.Contains([]string{"iss", "aud", "exp", "nbf", "iat"}, c.claim):
			k.fail(c.setting, "%s has a meaning of its own (RFC 7519 §4.1); allowed are other claims", c.claim)
		case other != "":
			k.fail(c.setting, "%q is the claim of %s too; allowed are claims that differ", c.claim, other)
		}
		claims[c.claim] = c.setting
	}
}

// checkJWKS checks the place of a JWK set. Without TLS anybody on the way could give
// other keys, and with them be any user.
func checkJWKS(text string) error {
	if !strings.Contains(text, "://") {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return fmt.Errorf("not a URL; allowed are https://host/path and the name of a file") // err would repeat a password in text
	}
	host := u.Hostname()
	switch {
	case u.Scheme == "https", u.Scheme == "http" && (host == "localhost" || net.ParseIP(host).IsLoopback()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("http:// lets anybody on the way replace the keys; allowed are https://, and for this machine only http://127.0.0.1 and http://localhost")
	}
	return fmt.Errorf("the scheme %.16q; allowed are https:// and the name of a file", u.Scheme)
}
