package config

import "time"

// Gateway is the section gateway.
type Gateway struct {
	Routes       []GatewayRoute `yaml:"routes" zero:"clients' messages go to no backend" doc:"Which backends are told what, as a list of mappings; the first route that matches an event takes it (docs/gateway.md)."`
	SigningKeys  []Secret       `yaml:"signing_keys" zero:"calls are not signed" doc:"Keys that sign the calls to backends (Standard Webhooks): whsec_ and base64 of 24 to 64 bytes. With several every call has a signature of each, so that keys can be changed without a break."`
	InFlight     int            `yaml:"in_flight" default:"4096" range:"1..1048576" doc:"Calls to all backends at the same time; further events wait in the queues of their routes."`
	QueueBytes   Size           `yaml:"queue_bytes" default:"64MiB" range:"1MiB..64GiB" doc:"Bytes of events that the node holds for backends, those in flight included. From half of it on a session is not read while it has an event here; beyond it a message gets the error unavailable, and another event is dropped."`
	SessionQueue int            `yaml:"session_queue" default:"16" range:"1..65536" doc:"Messages of one session that wait for backends, one at a time in flight. At the limit the session is not read until half of them are done."`
	SessionBytes Size           `yaml:"session_bytes" default:"256KiB" range:"1KiB..64MiB" doc:"Bytes of one session's messages that wait for backends. At the limit the session is not read until half of them are done."`
	RetryMax     time.Duration  `yaml:"retry_max" default:"30s" range:"100ms..1h" doc:"Longest pause between two tries of a route whose delivery is at_least_once; the first is 100ms, each next one twice as long."`
	DrainTime    time.Duration  `yaml:"drain_time" default:"5s" range:"1ms..10m" zero:"none" doc:"How long a node that shuts down goes on telling backends of the sessions that ended, within shutdown.grace; the rest is dropped and counted."`
}

// GatewayRoute is an item of gateway.routes.
type GatewayRoute struct {
	Name          string        `yaml:"name" zero:"not allowed" doc:"Name of the route in metrics, logs and errors: 1 to 32 of a-z 0-9 - _ . and used only once."`
	URL           string        `yaml:"url" redact:"url" zero:"urls" doc:"Where the backend takes events by POST: http://, https://, or h2c:// for HTTP/2 without TLS."`
	URLs          []string      `yaml:"urls" redact:"url" zero:"url" doc:"The same for a backend with several addresses, which are used in turn; one that fails is left out for a while."`
	Events        []string      `yaml:"events" default:"message" doc:"What the backend is told: connect, message, disconnect, subscribe, unsubscribe."`
	Path          string        `yaml:"path" zero:"any" doc:"Only sessions whose clients connected to this path. belfry serves it as a WebSocket endpoint beside the setting path."`
	Subprotocol   string        `yaml:"subprotocol" zero:"any" doc:"Only sessions with this subprotocol. Clients that offer it get it; except belfry.v1 it is spoken like no subprotocol at all."`
	Match         GatewayMatch  `yaml:"match" doc:"Which of their events."`
	Timeout       time.Duration `yaml:"timeout" default:"5s" range:"1ms..10m" doc:"Time for one try of a call, from the connection to the end of the answer."`
	Idempotent    bool          `yaml:"idempotent" doc:"Whether the backend takes an event that comes twice, with the same ce-id, as one. Only then is a call repeated."`
	Retries       int           `yaml:"retries" range:"1..10" zero:"none" doc:"How often a call that failed (5xx, 429, no answer) is repeated before the client gets an error; only with idempotent."`
	Delivery      string        `yaml:"delivery" default:"at_most_once" enum:"at_most_once|at_least_once" doc:"at_most_once: an event whose call fails is lost and counted, or its client gets an error. at_least_once: it is tried until the backend takes or refuses it, and the session's next events wait; only with idempotent."`
	InFlight      int           `yaml:"in_flight" default:"256" range:"1..65536" doc:"Calls of this route at the same time."`
	InFlightBytes Size          `yaml:"in_flight_bytes" default:"16MiB" range:"64KiB..4GiB" doc:"Bytes of the events in these calls; a single larger event goes alone."`
	Queue         int           `yaml:"queue" default:"65536" range:"1..16777216" doc:"Events that wait for a call, messages and others each. From half of it on a session is not read while its message waits; beyond it a message gets the error unavailable, and another event is dropped: then /readyz says degraded."`
	MaxAnswer     Size          `yaml:"max_answer" default:"64KiB" range:"1KiB..8MiB" doc:"Largest body of an answer; a larger one counts as a failed call. Data for a client is bounded by api.max_payload too."`
	Headers       []string      `yaml:"headers" zero:"none" doc:"Headers of the client's request that its calls repeat. They are kept with the session, up to 4 KiB together with cookies."`
	Cookies       []string      `yaml:"cookies" zero:"none" doc:"Names of cookies of the client's request that its calls repeat, as a header Cookie."`
	OnError       string        `yaml:"on_error" default:"drop" enum:"drop|close|text" doc:"What a plain client gets when its message was refused or its call failed: nothing (drop), close code 4500 (close), or the text of the error (text). Clients of belfry.v1 get an err in every case."`
}

// GatewayMatch is the section match of an item of gateway.routes. All that are
// set must match.
type GatewayMatch struct {
	UID   string `yaml:"uid" zero:"any, or none" doc:"User id of the session: exact, a prefix followed by *, or * for any session with a user."`
	Topic string `yaml:"topic" zero:"any, or none" doc:"Topic of the event (what a belfry.v1 client names in topic, or is subscribed to): exact, a prefix ending in .*, or *."`
	Event string `yaml:"event" zero:"any, or none" doc:"What a belfry.v1 client names in event: exact, a prefix followed by *, or * for any."`
	Field string `yaml:"field" zero:"the message is not looked into" doc:"A field of the message, which must be a JSON object with that field as a string; for messages only."`
	Value string `yaml:"value" zero:"any" doc:"Value of match.field: exact, or a prefix followed by *."`
}
