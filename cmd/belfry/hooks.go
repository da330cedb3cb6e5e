package main

import (
	"strings"

	"go.uber.org/zap"

	"belfry/auth"
	"belfry/config"
	"belfry/metrics"
	"belfry/session"
	"belfry/webhook"
)

// hooks are the backends that decide about clients and subscriptions; nil if there
// is none.
type hooks struct {
	connect   *auth.Webhook
	subscribe *auth.SubscribeWebhook
}

func (h *hooks) close() {
	if h.connect != nil {
		h.connect.Close()
	}
	if h.subscribe != nil {
		h.subscribe.Close()
	}
}

// degraded names the webhooks that cannot decide because their backends fail.
func (h *hooks) degraded() (reasons []string) {
	add := func(name string, st webhook.Stats) {
		if st.Open == st.URLs {
			reasons = append(reasons, name+": the backend fails")
		}
	}
	if h.connect != nil {
		add("auth.webhook", h.connect.Stats().Backend)
	}
	if h.subscribe != nil {
		st, _ := h.subscribe.Stats()
		add("auth.subscribe_webhook", st.Backend)
	}
	return reasons
}

// connectWebhook returns the webhook that decides about clients, after n.auth if
// that is there.
func (n *belfry) connectWebhook() (session.Authenticator, error) {
	b := connectBackend(n.cfg, n.log)
	b.Gate = n.calling
	backend, err := webhook.New(b)
	if err != nil {
		return nil, err
	}
	o := connectOptions(n.cfg, n.log)
	o.Backend, o.Gate, o.Source = backend, n.calling, n.source()
	var next session.LoginAuthenticator
	if n.auth != nil {
		next = n.auth
	}
	n.hooks.connect, err = auth.NewWebhook(next, o)
	return n.hooks.connect, err
}

// subscriptions returns what decides about topics that no pattern permits; nil if
// nothing does.
func (n *belfry) subscriptions() (session.Subscriptions, error) {
	if !n.cfg.Auth.SubscribeWebhook.Configured() {
		return nil, nil
	}
	b := subscribeBackend(n.cfg, n.log)
	b.Gate = n.calling
	backend, err := webhook.New(b)
	if err != nil {
		return nil, err
	}
	o := subscribeOptions(n.cfg, n.log)
	o.Backend, o.Gate, o.Source = backend, n.calling, n.source()
	n.hooks.subscribe, err = auth.NewSubscribeWebhook(o)
	return n.hooks.subscribe, err
}

// source is the ce-source of what this node sends.
func (n *belfry) source() string { return "/nodes/" + n.bus.Name() }

func connectBackend(c *config.Config, log *zap.Logger) webhook.Options {
	w := &c.Auth.Webhook
	return webhook.Options{
		Name: "auth.webhook", URLs: w.URL, Timeout: w.Timeout, MaxAnswer: int(w.AnswerBytes),
		InFlight: w.InFlight, Keys: signingKeys(w.SigningKeys), Log: log.Named("webhook"),
	}
}

func connectOptions(c *config.Config, log *zap.Logger) auth.WebhookOptions {
	w := &c.Auth.Webhook
	o := auth.WebhookOptions{
		Hook: auth.Hook{
			Workers: w.InFlight, QueueBytes: int(w.QueueBytes), Wait: c.Upgrade.Timeout, Log: log.Named("auth"),
		},
		Cookies:    w.Cookies,
		Admit:      w.OnFailure == "admit",
		Subscribe:  c.Auth.Subscribe,
		RetryAfter: c.Upgrade.RetryAfter,
	}
	for _, name := range w.Headers {
		o.Headers = append(o.Headers, strings.ToLower(name))
	}
	return o
}

func subscribeBackend(c *config.Config, log *zap.Logger) webhook.Options {
	w := &c.Auth.SubscribeWebhook
	return webhook.Options{
		Name: "auth.subscribe_webhook", URLs: w.URL, Timeout: w.Timeout, MaxAnswer: int(w.AnswerBytes),
		InFlight: w.InFlight, Keys: signingKeys(w.SigningKeys), Log: log.Named("webhook"),
	}
}

func subscribeOptions(c *config.Config, log *zap.Logger) auth.SubscribeOptions {
	w := &c.Auth.SubscribeWebhook
	o := auth.SubscribeOptions{
		Hook: auth.Hook{
			Workers: w.InFlight, QueueBytes: int(w.QueueBytes), Wait: c.Upgrade.Timeout, Log: log.Named("auth"),
		},
		Cache:     w.Cache,
		CacheTime: w.CacheTime,
	}
	if o.Cache == 0 {
		o.Cache = -1 // 0 is the default there
	}
	return o
}

// signingKeys parses keys. The configuration was validated, so that none fails.
func signingKeys(secrets []config.Secret) (keys []webhook.Key) {
	for _, s := range secrets {
		if k, err := webhook.ParseKey(s.Reveal()); err == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// hookValues returns the metrics of the webhooks that decide, and adds their limits
// to limits.
func (n *belfry) hookValues(limits map[string]uint64) metrics.Webhooks {
	v := metrics.Webhooks{
		Decisions: map[[2]string]uint64{}, Calls: map[[2]string]uint64{}, Waiting: map[string]uint64{}, Bytes: map[string]uint64{},
		InFlight: map[string]uint64{}, Open: map[string]uint64{},
	}
	add := func(name string, st auth.HookStats) {
		for result, count := range st.Decisions {
			v.Decisions[[2]string{name, result}] = count
		}
		for result, count := range st.Backend.Calls {
			v.Calls[[2]string{name, result}] = count
		}
		v.Waiting[name], v.Bytes[name] = uint64(st.Waiting), uint64(st.Bytes)
		v.InFlight[name], v.Open[name] = uint64(st.Backend.InFlight), uint64(st.Backend.Open)
	}
	limits["auth.webhook.queue_bytes"], limits["auth.subscribe_webhook.queue_bytes"] = 0, 0
	if n.hooks.connect != nil {
		st := n.hooks.connect.Stats()
		add("connect", st)
		limits["auth.webhook.queue_bytes"], v.ConnectTime = st.QueueFull, metrics.Histogram(st.Backend.Latency)
	}
	if n.hooks.subscribe != nil {
		st, cached := n.hooks.subscribe.Stats()
		add("subscribe", st)
		limits["auth.subscribe_webhook.queue_bytes"], v.SubscribeTime = st.QueueFull, metrics.Histogram(st.Backend.Latency)
		v.Cached = uint64(cached)
	}
	return v
}
