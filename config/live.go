package config

import (
	"fmt"
	"slices"
)

// Effect says when a changed setting takes effect.
type Effect uint8

const (
	Restart Effect = iota + 1 // when the node starts again
	Live                      // at a reload
)

// String returns "restart" or "live".
func (e Effect) String() string { return [...]string{"", "restart", "live"}[e] }

// EffectOf returns the effect of a setting, 0 if the table has no entry for it. Each
// setting has its entry, so that nobody adds one without a decision.
func EffectOf(path string) Effect {
	if _, live := slices.BinarySearch(live[:], path); live {
		return Live
	}
	if slices.Contains(restart[:], path) {
		return Restart
	}
	return 0
}

// live has the settings that a reload applies, sorted.
var live = [...]string{
	"api.keys", "api.keys_file", "auth.jwt.algorithms", "auth.jwt.audience", "auth.jwt.issuer", "auth.jwt.jwks", "auth.jwt.jwks_interval",
	"auth.jwt.jwks_refresh", "auth.jwt.leeway", "auth.jwt.public_key_file", "auth.jwt.required", "auth.jwt.secret", "auth.publish", "auth.subscribe",
	"gateway.in_flight", "gateway.queue_bytes", "gateway.retry_max", "gateway.routes", "gateway.session_bytes", "gateway.session_queue",
	"gateway.signing_keys", "log.level", "session.byte_burst", "session.byte_rate", "session.client_messages", "session.close_timeout",
	"session.closing_bytes", "session.command_burst", "session.command_rate", "session.half_closed_bytes", "session.max_acks", "session.max_deciding",
	"session.max_fragments", "session.max_presence", "session.max_topics", "session.message_burst", "session.message_rate", "session.message_timeout",
	"session.presence", "session.rate_grace", "upgrade.burst", "upgrade.max_waiting", "upgrade.origins", "upgrade.rate", "upgrade.waiting_bytes",
}

// restart has the settings that are read only at start.
var restart = [...]string{
	"dev", "listen", "path", "max_connections", "shards", "gomaxprocs",
	"node.name",
	"tls.cert", "tls.key", "tls.certificates", "tls.listen", "tls.min_version", "tls.max_connections", "tls.max_handshakes", "tls.handshake_timeout",
	"proxy.protocol", "proxy.trusted", "proxy.header",
	"upgrade.max_head", "upgrade.timeout", "upgrade.max_pending", "upgrade.max_per_address", "upgrade.rate_per_address",
	"upgrade.health", "upgrade.retry_after",
	"deflate.enabled", "deflate.min_bytes", "deflate.level",
	"sse.path", "sse.retry",
	"auth.anonymous", "auth.cookie", "auth.cookie_any_origin", "auth.max_token", "auth.verifiers", "auth.queue",
	"auth.max_lifetime", "auth.max_revocations",
	"auth.jwt.uid_claim", "auth.jwt.topics_claim", "auth.jwt.subscribe_claim", "auth.jwt.publish_claim", "auth.jwt.meta_claim", "auth.jwt.limits_claim",
	"auth.jwt.device_class_claim", "auth.jwt.cache", "auth.webhook.url", "auth.webhook.timeout", "auth.webhook.in_flight", "auth.webhook.queue_bytes",
	"auth.webhook.answer_bytes", "auth.webhook.on_failure", "auth.webhook.headers", "auth.webhook.cookies", "auth.webhook.signing_keys",
	"auth.subscribe_webhook.url", "auth.subscribe_webhook.timeout", "auth.subscribe_webhook.in_flight", "auth.subscribe_webhook.queue_bytes",
	"auth.subscribe_webhook.answer_bytes", "auth.subscribe_webhook.cache", "auth.subscribe_webhook.cache_time", "auth.subscribe_webhook.signing_keys",
	"session.max_message", "session.inbound_bytes",
	"session.command_tokens",
	"session.publish_queue", "session.max_per_user", "session.max_per_user_class",
	"session.per_user_policy", "session.presence_members", "session.join_leave",
	"session.join_leave_members", "session.join_leave_rate", "session.lifetime", "session.lifetime_spread", "session.last_seen", "session.last_seen_users",
	"session.keep_agent", "session.user_message_rate", "session.user_message_burst", "session.user_byte_rate", "session.user_byte_burst",
	"session.ping_interval", "session.pong_timeout", "session.idle_read", "session.idle_write", "session.idle",

	"backlog.frames", "backlog.bytes", "backlog.node_bytes", "backlog.timeout", "backlog.policy",
	"fanout.chunk", "fanout.io_uring", "fanout.mailbox", "fanout.max_spreads", "fanout.mailbox_bytes",
	"api.listen", "api.monitor_listen", "api.allowed_hosts", "api.max_payload", "api.max_batch_lines", "api.max_requests", "api.max_bodies",
	"api.body_bytes", "api.max_connections", "api.max_head", "api.head_timeout", "api.read_timeout", "api.write_timeout", "api.idle_timeout",
	"api.push_wait", "api.max_waits", "api.nodes_wait", "api.batch_idle_timeout", "api.idempotency.window", "api.idempotency.max_keys",
	"api.idempotency.max_bytes", "api.tls.cert", "api.tls.key", "api.tls.client_ca", "api.tls.min_version",
	"gateway.drain_time",
	"cluster.max_sessions", "cluster.rebalance", "cluster.events", "cluster.events_bytes", "cluster.events_list",
	"nats.url", "nats.listen", "nats.cluster_listen", "nats.cluster_advertise", "nats.cluster_name", "nats.routes", "nats.creds", "nats.user",
	"nats.password", "nats.token", "nats.cluster_user", "nats.cluster_password", "nats.outbox_messages", "nats.outbox_bytes", "nats.pending_bytes",
	"nats.linger", "nats.beacon", "nats.overload_wait", "nats.max_lingering", "nats.required", "nats.tls.ca", "nats.tls.cert", "nats.tls.key",
	"control.socket", "control.ready_timeout",
	"shutdown.delay", "shutdown.grace", "shutdown.pace", "shutdown.reconnect_after", "shutdown.reconnect_jitter",
	"log.format", "log.sample_first", "log.sample_every", "log.buffer",
}

// Reloaded is what a reload comes to.
type Reloaded struct {
	Config    Config   // the settings in force, with the new values of live settings
	Applied   []string // live settings that changed
	Restart   []string // settings that changed and need a restart
	Unchanged int      // how many settings did not change
}

// Reload compares the settings in force with those that were read again. Both are as
// loaded, so values that a machine chooses do not look changed. The error is of type
// Errors: the new values of live settings do not fit the values in force of settings
// that need a restart.
func Reload(now *Config, next *Loaded) (*Reloaded, error) {
	r := &Reloaded{Config: *now}
	mixed, read := r.Config.Settings(), next.Config.Settings()
	for i, s := range mixed {
		switch {
		case slices.Equal(s.Items(), read[i].Items()):
			r.Unchanged++
		case EffectOf(s.Path) == Live:
			s.value.Set(read[i].value)
			r.Applied = append(r.Applied, s.Path)
		default:
			r.Restart = append(r.Restart, s.Path)
		}
	}
	var errs Errors
	for _, fault := range r.Config.errors() {
		fault.Source = next.Sources[fault.Setting]
		fault.Detail = fmt.Sprintf("%s, with the values in force of settings that need a restart (%v)", fault.Detail, r.Restart)
		errs = append(errs, fault)
	}
	return r, errs.orNil()
}

// TakeLive gives the live settings of c the values that they have in from.
func (c *Config) TakeLive(from *Config) {
	theirs := from.Settings()
	for i, s := range c.Settings() {
		if EffectOf(s.Path) == Live {
			s.value.Set(theirs[i].value)
		}
	}
}
