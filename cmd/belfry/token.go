package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"belfry/auth"
	"belfry/config"
)

func newTokenCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make and inspect tokens, for trying things out",
	}
	cmd.AddCommand(newTokenNewCommand(env), newTokenInspectCommand(env))
	return cmd
}

// tokenFlags are the flags of token new.
type tokenFlags struct {
	config             *configFlags
	uid, meta          string
	topics             []string
	subscribe, publish []string
	claims             []string
	duration           time.Duration
	key, secretEnv     string
	algorithm, kid     string
}

func newTokenNewCommand(env []string) *cobra.Command {
	f := &tokenFlags{}
	cmd := &cobra.Command{
		Use:   "new --uid USER",
		Short: "Print a new token",
		Long: `Print a new token, as a node with the same configuration accepts it: the claims
have the names of auth.jwt.*_claim, and auth.jwt.issuer and auth.jwt.audience are
filled in. It is signed with auth.jwt.secret, with the private key in the file of
--key, or with the secret in the environment variable that --secret-env names. A
secret is never an argument, because other users of a machine see those.`,
		Example: `  BELFRY_AUTH_JWT_SECRET=… belfry token new --uid u1 --topic news --for 1h
  belfry token new --uid u1 --key private.pem --kid k1 --claim tenant=7`,
		Args: cobra.NoArgs,
	}
	f.config = addConfigFlags(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.uid, "uid", "", "user id")
	flags.StringArrayVar(&f.topics, "topic", nil, "topic that the session is subscribed to; may be repeated")
	flags.StringArrayVar(&f.subscribe, "subscribe", nil, "pattern of topics that the client may subscribe to; may be repeated")
	flags.StringArrayVar(&f.publish, "publish", nil, "pattern of topics that the client may publish to; may be repeated")
	flags.StringVar(&f.meta, "meta", "", "JSON object for webhooks and the gateway")
	flags.StringArrayVar(&f.claims, "claim", nil, "another claim, name=value; the value is JSON, or else a text; may be repeated")
	flags.DurationVar(&f.duration, "for", time.Hour, "time until the token expires; 0 for never")
	flags.StringVar(&f.key, "key", "", "PEM file with the private key")
	flags.StringVar(&f.secretEnv, "secret-env", "", "environment variable with the secret")
	flags.StringVar(&f.algorithm, "alg", "", "algorithm; without it the first that fits the key")
	flags.StringVar(&f.kid, "kid", "", "id of the key, for the token's header")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := f.config.load(env)
		if err != nil {
			return err
		}
		token, err := f.sign(&loaded.Config, env)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
		return err
	}
	return cmd
}

func (f *tokenFlags) sign(c *config.Config, env []string) (string, error) {
	claims, err := f.content(&c.Auth.JWT)
	if err != nil {
		return "", err
	}
	key, err := f.signingKey(c, env)
	if err != nil {
		return "", err
	}
	token, err := auth.Sign(key, f.algorithm, f.kid, claims)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return token, nil
}

// content returns the claims.
func (f *tokenFlags) content(j *config.JWT) (map[string]any, error) {
	now := time.Now()
	claims := map[string]any{"iat": now.Unix()}
	if f.duration != 0 {
		claims["exp"] = now.Add(f.duration).Unix()
	}
	if j.Issuer != "" {
		claims["iss"] = j.Issuer
	}
	if len(j.Audience) > 0 {
		claims["aud"] = j.Audience[0]
	}
	if f.uid != "" {
		claims[j.UIDClaim] = f.uid
	}
	for name, list := range map[string][]string{j.TopicsClaim: f.topics, j.SubscribeClaim: f.subscribe, j.PublishClaim: f.publish} {
		if len(list) > 0 {
			claims[name] = list
		}
	}
	if f.meta != "" {
		var meta map[string]any
		if err := json.Unmarshal([]byte(f.meta), &meta); err != nil {
			return nil, errors.New(`--meta: not a JSON object, such as {"plan":"gold"}`)
		}
		claims[j.MetaClaim] = json.RawMessage(f.meta)
	}
	for _, text := range f.claims {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--claim: %q is not name=value", text)
		}
		if claims[name] = value; json.Valid([]byte(value)) {
			claims[name] = json.RawMessage(value)
		}
	}
	return claims, nil
}

func (f *tokenFlags) signingKey(c *config.Config, env []string) (any, error) {
	switch {
	case f.key != "" && f.secretEnv != "":
		return nil, errors.New("--key and --secret-env exclude each other; give one of them")
	case f.key != "":
		return auth.ReadPrivateKey(f.key)
	case f.secretEnv != "":
		for _, pair := range env {
			if value, ok := strings.CutPrefix(pair, f.secretEnv+"="); ok {
				secret, err := config.CleanSecret(value)
				return []byte(secret), err
			}
		}
		return nil, fmt.Errorf("--secret-env: there is no environment variable %s", f.secretEnv)
	case c.Auth.JWT.Secret != "":
		return []byte(c.Auth.JWT.Secret.Reveal()), nil
	}
	return nil, errors.New("no key to sign with; set auth.jwt.secret (BELFRY_AUTH_JWT_SECRET), or give --key or --secret-env")
}

func newTokenInspectCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect [TOKEN]",
		Short: "Print what is in a token, and whether a node would accept it",
		Long: `Print the header and the claims of a token, and what a node with this configuration
would do: what the token grants, or why it is refused. The exit code is 1 if it is
refused. Without an argument the token is read from standard input, where other
users of the machine cannot see it.`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := addConfigFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		loaded, err := flags.load(env)
		if err != nil {
			return err
		}
		token := ""
		if len(args) == 1 && args[0] != "-" {
			token = args[0]
		} else {
			data, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 1<<20))
			if err != nil {
				return err
			}
			token = strings.TrimSpace(string(data))
		}
		return inspect(cmd, &loaded.Config, token)
	}
	return cmd
}

// errRefused sets the exit code of token inspect, which has written why.
var errRefused = errors.New("the token is refused")

func inspect(cmd *cobra.Command, c *config.Config, token string) error {
	out := cmd.OutOrStdout()
	for i, name := range []string{"header", "claims"} {
		fmt.Fprintf(out, "%s: %s\n", name, decoded(token, i))
	}
	if !c.Auth.JWT.Configured() {
		fmt.Fprintln(out, "not verified: no keys are configured (auth.jwt.secret, auth.jwt.public_key_file, auth.jwt.jwks)")
		return nil
	}
	grant, refusal, err := auth.Inspect(cmd.Context(), authOptions(c, zap.NewNop()), token)
	if err != nil {
		return err
	}
	if refusal != nil {
		fmt.Fprintf(out, "refused: %d %s: %s\n", refusal.Status, refusal.Cause, refusal.Detail)
		return errRefused
	}
	fmt.Fprintf(out, "accepted: user %s\n", grant.UID)
	if !grant.Expires.IsZero() {
		fmt.Fprintf(out, "session ends: %s (in %s)\n", grant.Expires.UTC().Format(time.RFC3339), time.Until(grant.Expires).Round(time.Second))
	}
	for _, list := range []struct {
		name  string
		items []string
	}{{"topics", grant.Topics}, {"may subscribe", append(c.Auth.Subscribe, grant.Subscribe...)}, {"may publish", append(c.Auth.Publish, grant.Publish...)}} {
		if len(list.items) > 0 {
			fmt.Fprintf(out, "%s: %s\n", list.name, strings.Join(list.items, ", "))
		}
	}
	return nil
}

// decoded returns a part of a token as indented JSON.
func decoded(token string, part int) string {
	parts := strings.Split(token, ".")
	if part >= len(parts) {
		return "missing"
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[part])
	var pretty bytes.Buffer
	if err != nil || json.Indent(&pretty, data, "", "  ") != nil {
		return "not JSON in base64url"
	}
	return pretty.String()
}
