package main

import (
	"go.uber.org/zap"

	"belfry/auth"
	"belfry/config"
	"belfry/message"
	"belfry/metrics"
	"belfry/session"
)

// authenticator returns what decides who clients are: tokens, a webhook, or both.
func (n *belfry) authenticator() (session.Authenticator, error) {
	c := n.cfg
	var err error
	if c.Auth.JWT.Configured() {
		o := authOptions(c, n.log)
		o.Revoked = n.revocations.Revoked
		if n.auth, err = auth.New(o); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Auth.Webhook.Configured():
		return n.connectWebhook()
	case n.auth != nil:
		return n.auth, nil
	}
	if !c.Dev && c.Auth.Anonymous == "auto" {
		n.log.Info("no setting of auth says how clients prove who they are",
			zap.String("effect", "every client is admitted without a user; tokens are not looked at"),
			zap.String("fix", "set a key of auth.jwt, or auth.webhook.url; auth.anonymous: true if this is meant"))
	}
	patterns, err := message.CompilePatterns(c.Auth.Subscribe)
	return &session.Open{Unproven: c.Dev, Topics: patterns}, err
}

func authOptions(c *config.Config, log *zap.Logger) auth.Options {
	j := &c.Auth.JWT
	return auth.Options{
		Cookie:      c.Auth.Cookie,
		MaxToken:    int(c.Auth.MaxToken),
		Anonymous:   c.Auth.Admits(),
		Unproven:    c.Dev,
		Subscribe:   c.Auth.Subscribe,
		LeaveTopics: c.Auth.Webhook.Configured(),
		Verifiers:   c.Auth.Verifiers,
		Queue:       c.Auth.Queue,
		RetryAfter:  c.Upgrade.RetryAfter,
		Log:         log.Named("auth"),
		JWT: auth.JWT{
			Secret:         []byte(j.Secret.Reveal()),
			PublicKeyFiles: j.PublicKeyFile,
			JWKS:           j.JWKS,
			Refresh:        j.JWKSRefresh,
			Interval:       j.JWKSInterval,
			Algorithms:     j.Algorithms,
			Issuer:         j.Issuer,
			Audience:       j.Audience,
			Leeway:         j.Leeway,
			Required:       j.Required,
			MaxLifetime:    c.Auth.MaxLifetime,
			CacheBytes:     int(j.Cache),
			Claims: auth.ClaimNames{
				UID: j.UIDClaim, Topics: j.TopicsClaim, Subscribe: j.SubscribeClaim,
				Publish: j.PublishClaim, Meta: j.MetaClaim, Limits: j.LimitsClaim, DeviceClass: j.DeviceClaim,
			},
		},
	}
}

// authValues returns the metrics of tokens, and adds their limits to limits.
func (n *belfry) authValues(limits map[string]uint64) metrics.Auth {
	var st auth.Stats
	if n.auth != nil {
		st = n.auth.Stats()
	}
	revoked, sync := n.revocations.Stats(), auth.SyncStats{}
	if n.sync != nil {
		sync = n.sync.Stats()
	}
	limits["auth.max_revocations"] = revoked.Refused
	before := 0.0
	if !revoked.Everybody.IsZero() {
		before = float64(revoked.Everybody.UnixNano()) / 1e9
	}
	limits["auth.queue"] = st.QueueFull
	limits["auth.max_token"] += st.TooLong // beside those in commands, which package session counts
	return metrics.Auth{
		Tokens:    st.Tokens,
		Queue:     uint64(st.Queue),
		Parked:    uint64(st.Parked),
		CacheHits: st.CacheHits,
		Keys:      uint64(st.Keys),
		Revoked:   uint64(revoked.Users),
		RevokedAt: before,
		Revoking:  map[string]uint64{"learned": sync.Learned, "refused": revoked.Refused, "lost": sync.Overflow},
		SyncFails: sync.Failed,
		Reads:     map[string]uint64{"ok": st.Readings - st.FailedReadings, "failed": st.FailedReadings},
		Age:       st.Age.Seconds(),
	}
}
