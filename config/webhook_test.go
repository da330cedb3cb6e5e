package config

import (
	"strings"
	"testing"
)

// The settings of webhooks are checked, and no error shows a password or a key.
func TestWebhookSettings(t *testing.T) {
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, tc := range []struct {
		name, setting, says string
		change              func(*Auth)
	}{
		{"off", "", "", func(a *Auth) {}},
		{"all", "", "", func(a *Auth) {
			a.Webhook.URL, a.Webhook.SigningKeys = []string{"https://u:p@a.example/x?y", "h2c://b:8080"}, []Secret{key, key}
			a.Webhook.Headers, a.Webhook.Cookies = []string{"Authorization"}, []string{"sid"}
			a.SubscribeWebhook.URL, a.SubscribeWebhook.SigningKeys = []string{"http://a"}, []Secret{key}
		}},
		{"admit", "", "", func(a *Auth) {
			a.JWT.Secret, a.Webhook.OnFailure = "0123456789abcdef0123456789abcdef", "admit"
		}},
		{"admit without tokens", "auth.webhook.on_failure", "auth.jwt", func(a *Auth) { a.Webhook.OnFailure = "admit" }},
		{"no clients without tokens", "", "", func(a *Auth) { a.Anonymous, a.Webhook.URL = "false", []string{"http://a"} }},
		{"nobody", "auth.anonymous", "auth.webhook.url", func(a *Auth) { a.Anonymous = "false" }},
		{"scheme", "auth.webhook.url", `"ftp"`, func(a *Auth) { a.Webhook.URL = []string{"ftp://u:hidden@a/hidden"} }},
		{"no host", "auth.webhook.url", "not a URL", func(a *Auth) { a.Webhook.URL = []string{"/hidden"} }},
		{"not a URL", "auth.subscribe_webhook.url", "not a URL", func(a *Auth) { a.SubscribeWebhook.URL = []string{"http://u:hidden@a b"} }},
		{"fragment", "auth.subscribe_webhook.url", "fragment", func(a *Auth) { a.SubscribeWebhook.URL = []string{"http://a/#hidden"} }},
		{"key", "auth.webhook.signing_keys", "key 2 is not whsec_", func(a *Auth) { a.Webhook.SigningKeys = []Secret{key, "whsec_hidden"} }},
		{"short key", "auth.subscribe_webhook.signing_keys", "24 to 64", func(a *Auth) { a.SubscribeWebhook.SigningKeys = []Secret{"whsec_aGlkZGVu"} }},
		{"header", "auth.webhook.headers", "not a name", func(a *Auth) { a.Webhook.Headers = []string{"a b"} }},
		{"many headers", "auth.webhook.headers", "17 names", func(a *Auth) { a.Webhook.Headers = strings.Split(strings.Repeat("a ", 17), " ")[:17] }},
		{"cookie", "auth.webhook.cookies", "not a name", func(a *Auth) { a.Webhook.Cookies = []string{""} }},
	} {
		c := Default()
		tc.change(&c.Auth)
		err := c.Validate()
		switch {
		case tc.setting == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.setting == "":
		case err == nil || !strings.Contains(err.Error(), tc.setting) || !strings.Contains(err.Error(), tc.says):
			t.Errorf("%s: %v; want %s and %q", tc.name, err, tc.setting, tc.says)
		case strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "aGlkZGVu"):
			t.Errorf("%s: the error shows a secret: %v", tc.name, err)
		}
	}
}
