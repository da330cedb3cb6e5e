package metrics

// Values is one reading of every metric. Its tags are the declaration:
//
//	metric  the name; the group is not part of it
//	type    counter, gauge, or histogram for a field of type Histogram
//	help    what it counts
//	label   the label of a map's keys; two, joined by a comma, for map[[2]string]
//
// Counters never fall while the process lives. A map holds one series for
// each of its keys; its keys come from small fixed sets, never from clients.
type Values struct {
	Build       Build       `group:"Build"`
	Sessions    Sessions    `group:"Connections and sessions"`
	Drain       Drain       `group:"Draining and rebalancing"`
	Auth        Auth        `group:"Tokens"`
	Webhooks    Webhooks    `group:"Webhooks that decide"`
	TLS         TLS         `group:"TLS"`
	Traffic     Traffic     `group:"From clients and to clients"`
	Deflate     Deflate     `group:"Compression"`
	Shards      Shards      `group:"Shards and memory"`
	Bus         Bus         `group:"The bus"`
	Cluster     Cluster     `group:"The cluster"`
	Routes      Routes      `group:"Pushes to users between nodes"`
	HTTP        HTTP        `group:"The HTTP API"`
	JoinLeave   JoinLeave   `group:"Who joins and leaves topics"`
	Reports     Reports     `group:"Pushes that wait for their reports"`
	Idempotency Idempotency `group:"Idempotency-Keys"`
	Gateway     Gateway     `group:"The gateway"`
	Handover    Handover    `group:"Hot restarts"`
	Log         Log         `group:"The log"`
	Reload      Reload      `group:"Reloads of the settings"`
}

// Histogram is a distribution of observations, cumulative as Prometheus has it.
type Histogram struct {
	Count   uint64             // of all observations
	Sum     float64            // of all observations
	Buckets map[float64]uint64 // by upper bound: how many observations were at most that
}

// Build is the version of the program.
type Build struct {
	Info map[[2]string]uint64 `metric:"belfry_build_info" type:"gauge" label:"version,goversion" help:"1, with the version of belfry and of Go as labels."`
}

// Sessions counts connections from accept to close.
type Sessions struct {
	Connections   uint64               `metric:"belfry_connections" type:"gauge" help:"Open client connections, including those without a session yet."`
	Limit         uint64               `metric:"belfry_connections_limit" type:"gauge" help:"Most client connections this node accepts (max_connections)."`
	Upgrading     uint64               `metric:"belfry_upgrades_pending" type:"gauge" help:"Connections without a complete request head (upgrade.max_pending)."`
	Protocols     map[[2]string]uint64 `metric:"belfry_sessions_by_protocol" type:"gauge" label:"transport,encoding" help:"Sessions by the transport and the encoding that their clients use."`
	Waiting       uint64               `metric:"belfry_upgrades_waiting" type:"gauge" help:"Upgrades with a complete request that wait for authentication or subscriptions (upgrade.max_waiting)."`
	WaitingBytes  uint64               `metric:"belfry_upgrades_waiting_bytes" type:"gauge" help:"Bytes of requests and credentials that wait for authentication (upgrade.waiting_bytes)."`
	Open          uint64               `metric:"belfry_sessions" type:"gauge" help:"Open sessions."`
	Users         uint64               `metric:"belfry_users" type:"gauge" help:"Users with a session on this node."`
	Topics        uint64               `metric:"belfry_topics" type:"gauge" help:"Topics with a subscriber, summed over the shards."`
	Subscriptions uint64               `metric:"belfry_subscriptions" type:"gauge" help:"Subscriptions of sessions to topics."`
	Accepted      uint64               `metric:"belfry_accepted_total" type:"counter" help:"Connections accepted; TLS connections when their request has begun."`
	AcceptErrors  map[string]uint64    `metric:"belfry_accept_errors_total" type:"counter" label:"errno" help:"Failed accepts by error; EMFILE and ENFILE mean that a limit of open files was reached."`
	HalfOpened    uint64               `metric:"belfry_half_open_total" type:"counter" help:"Connections whose request was not complete after the first read. Many more than usual mean an attack or clients with bad connections."`
	Paused        uint64               `metric:"belfry_sessions_paused_total" type:"counter" help:"Pauses of sessions that were not read because a backend was behind with their messages."`
	Unreadable    uint64               `metric:"belfry_forwarded_unreadable_total" type:"counter" help:"Requests from trusted proxies whose proxy.header could not be parsed; the proxy's address was used."`
	BadGrants     uint64               `metric:"belfry_grants_invalid_total" type:"counter" help:"Clients refused because the authenticator granted something that is not valid: a user id, a topic, a pattern, meta data or a limit."`
	UnfitUIDs     uint64               `metric:"belfry_uids_unfit_total" type:"counter" help:"Topics refused to users whose id cannot stand for {uid} in a pattern: it is no token of a topic."`
	Upgrades      map[[2]string]uint64 `metric:"belfry_upgrades_total" type:"counter" label:"status,cause" help:"Upgrades by the HTTP status of the answer and the cause of the refusal; 101 is success (200 for event streams). docs/protocol.md lists both."`
	Closed        map[string]uint64    `metric:"belfry_closed_total" type:"counter" label:"reason" help:"Connections ended, by reason, and sessions that logged in and go on as others (login); see the registry of close codes in docs/protocol.md."`
	Moves         uint64               `metric:"belfry_moves_total" type:"counter" help:"Connections moved to their user's shard."`
	MovesDeferred uint64               `metric:"belfry_moves_deferred_total" type:"counter" help:"Moves that waited because the mailbox of the next shard was full; accepting pauses meanwhile."`
	Pings         uint64               `metric:"belfry_pings_total" type:"counter" help:"Pings sent."`
	Pongs         uint64               `metric:"belfry_pongs_total" type:"counter" help:"Pongs received."`
	LimitsHit     map[string]uint64    `metric:"belfry_limits_hit_total" type:"counter" label:"limit" help:"Times that a limit refused something, by setting. memory: the kernel gave a shard's tables no more memory. kept: a route wanted to keep more of a request than it may. agents: a shard had no room for another User-Agent (docs/security.md). device_classes: a shard had no room for another device class, and the session has none."`
}

// Auth counts the tokens of clients and what happens to the keys that verify them.
type Auth struct {
	Tokens    map[string]uint64 `metric:"belfry_tokens_total" type:"counter" label:"result" help:"Credentials of clients by what became of them: accepted, or the cause of the refusal (docs/auth.md). Tokens in auth commands are included."`
	Queue     uint64            `metric:"belfry_tokens_waiting" type:"gauge" help:"Tokens that wait to be verified (auth.queue)."`
	Parked    uint64            `metric:"belfry_tokens_waiting_for_keys" type:"gauge" help:"Tokens with an unknown key id that wait for auth.jwt.jwks to be read; at most 1024."`
	CacheHits uint64            `metric:"belfry_token_cache_hits_total" type:"counter" help:"Tokens whose signature was known to be valid (auth.jwt.cache)."`
	Keys      uint64            `metric:"belfry_token_keys" type:"gauge" help:"Keys in force for tokens."`
	Reads     map[string]uint64 `metric:"belfry_jwks_reads_total" type:"counter" label:"result" help:"Readings of auth.jwt.jwks; ok or failed."`
	Revoked   uint64            `metric:"belfry_revoked_users" type:"gauge" help:"Users with revoked tokens (auth.max_revocations)."`
	RevokedAt float64           `metric:"belfry_revoked_before_seconds" type:"gauge" help:"Unix time before which the tokens of all users are revoked; 0: none are."`
	Revoking  map[string]uint64 `metric:"belfry_revocations_total" type:"counter" label:"result" help:"Revocations. learned: from other nodes, after their commands were missed; refused: auth.max_revocations was reached; lost: another node had one for which there was no room here."`
	SyncFails uint64            `metric:"belfry_revocation_sync_failures_total" type:"counter" help:"Attempts to read the revocations of another node that failed."`
	Age       float64           `metric:"belfry_jwks_age_seconds" type:"gauge" help:"Time since auth.jwt.jwks was read; 0 before the first time."`
}

// Webhooks counts what backends decide about clients (webhook="connect") and
// subscriptions ("subscribe").
type Webhooks struct {
	Decisions     map[[2]string]uint64 `metric:"belfry_webhook_decisions_total" type:"counter" label:"webhook,result" help:"Decisions about clients and subscriptions by what was decided; unavailable: the backend did not answer, bad_answer: its answer is not valid (docs/webhooks.md)."`
	Calls         map[[2]string]uint64 `metric:"belfry_webhook_calls_total" type:"counter" label:"webhook,result" help:"Calls to backends by result: ok, refused (3xx, 4xx), failed (5xx), timeout, error (of the connection), too_big, busy, open (not made, because the backend fails), canceled."`
	Waiting       map[string]uint64    `metric:"belfry_webhook_waiting" type:"gauge" label:"webhook" help:"Decisions that no call was made for yet."`
	Bytes         map[string]uint64    `metric:"belfry_webhook_waiting_bytes" type:"gauge" label:"webhook" help:"Bytes of decisions that wait or are being made (auth.webhook.queue_bytes, auth.subscribe_webhook.queue_bytes)."`
	InFlight      map[string]uint64    `metric:"belfry_webhook_in_flight" type:"gauge" label:"webhook" help:"Calls that are not answered yet (auth.webhook.in_flight, auth.subscribe_webhook.in_flight)."`
	Open          map[string]uint64    `metric:"belfry_webhook_urls_open" type:"gauge" label:"webhook" help:"URLs that get no calls for a while because they fail."`
	ConnectTime   Histogram            `metric:"belfry_webhook_connect_seconds" type:"histogram" help:"Time of a call to auth.webhook.url."`
	SubscribeTime Histogram            `metric:"belfry_webhook_subscribe_seconds" type:"histogram" help:"Time of a call to auth.subscribe_webhook.url."`
	Cached        uint64               `metric:"belfry_webhook_cached_decisions" type:"gauge" help:"Decisions about subscriptions that are remembered (auth.subscribe_webhook.cache)."`
}

// TLS counts TLS connections of clients, and has the certificates in force.
type TLS struct {
	Connections uint64            `metric:"belfry_tls_connections" type:"gauge" help:"Open TLS connections of clients, from the end of their handshake (tls.max_connections)."`
	Handshaking uint64            `metric:"belfry_tls_handshakes_pending" type:"gauge" help:"TLS connections of clients whose handshake or first request has not arrived (tls.max_handshakes)."`
	Handshakes  uint64            `metric:"belfry_tls_handshakes_total" type:"counter" help:"TLS handshakes of clients that were completed."`
	Resumed     uint64            `metric:"belfry_tls_resumed_total" type:"counter" help:"TLS handshakes of clients that resumed an earlier TLS session."`
	Refused     map[string]uint64 `metric:"belfry_tls_refused_total" type:"counter" label:"cause" help:"TLS connections of clients that became no session's: http is a client that speaks HTTP without TLS, handshake one that does not accept the certificate or has no common version, sessions a node that is stopping or overloaded; docs/tls.md lists all."`
	NotAfter    map[string]uint64 `metric:"belfry_tls_certificate_not_after_seconds" type:"gauge" label:"file" help:"When each certificate in force ends, in seconds since 1970, for clients and for the API."`
	Reloads     map[string]uint64 `metric:"belfry_tls_certificate_reloads_total" type:"counter" label:"result" help:"Changed certificate files: ok were taken over, failed could not be used and the earlier certificates stayed."`
}

// Traffic counts messages in both directions.
type Traffic struct {
	Messages        uint64            `metric:"belfry_client_messages_total" type:"counter" help:"Messages received from clients, commands included."`
	MessageBytes    uint64            `metric:"belfry_client_message_bytes_total" type:"counter" help:"Payload bytes received from clients."`
	InboundBytes    uint64            `metric:"belfry_inbound_bytes" type:"gauge" help:"Bytes of clients' input that the node holds: unfinished messages, input not yet decoded, messages that clients publish (session.inbound_bytes)."`
	Dropped         uint64            `metric:"belfry_client_messages_dropped_total" type:"counter" help:"Messages from plain clients that were dropped (session.client_messages)."`
	Commands        map[string]uint64 `metric:"belfry_commands_total" type:"counter" label:"op" help:"Commands of belfry.v1 clients."`
	CommandErrors   map[string]uint64 `metric:"belfry_command_errors_total" type:"counter" label:"code" help:"Commands of belfry.v1 clients that were refused."`
	Pushes          map[string]uint64 `metric:"belfry_pushes_total" type:"counter" label:"scope" help:"Messages handed to this node's shards, from its own API and from the bus."`
	Deliveries      uint64            `metric:"belfry_deliveries_total" type:"counter" help:"Frames handed to sockets or, for slow clients, to their backlogs."`
	DeliveredBytes  uint64            `metric:"belfry_delivered_bytes_total" type:"counter" help:"Bytes written to client sockets, framing included."`
	Undelivered     map[string]uint64 `metric:"belfry_deliveries_dropped_total" type:"counter" label:"policy" help:"Frames dropped for slow clients, by the policy that dropped them (backlog.policy). ttl: the message died while it waited."`
	FanoutRuns      uint64            `metric:"belfry_fanout_passes_total" type:"counter" help:"Fan-out runs: walks of a shard over its connections, or over the subscribers of topics."`
	Spreading       uint64            `metric:"belfry_spreads" type:"gauge" help:"Messages with a spread that are being sent; bounded by fanout.max_spreads."`
	SpreadLost      uint64            `metric:"belfry_spread_lost_sessions_total" type:"counter" help:"Sessions, about, that messages with a spread had not come to when the node stopped by force. A node that is told to stop sends what is left at once."`
	Expired         uint64            `metric:"belfry_messages_expired_total" type:"counter" help:"Messages whose ttl was over before a shard came to them, counted once for each shard."`
	Coalesced       uint64            `metric:"belfry_fanout_coalesced_total" type:"counter" help:"Messages sent in the same fan-out run as another message."`
	Backlogged      uint64            `metric:"belfry_backlog_connections" type:"gauge" help:"Connections with frames waiting because the client reads too slowly."`
	BacklogBytes    uint64            `metric:"belfry_backlog_bytes" type:"gauge" help:"Bytes waiting for slow clients; bounded by backlog.node_bytes."`
	Slow            uint64            `metric:"belfry_backlog_events_total" type:"counter" help:"Sends of pushed messages that the socket did not accept completely."`
	Overflows       map[string]uint64 `metric:"belfry_backlog_overflows_total" type:"counter" label:"bound" help:"Frames refused because the backlog of a connection (backlog.frames, backlog.bytes) or of the node (backlog.node_bytes) was full."`
	PushLatency     Histogram         `metric:"belfry_push_latency_seconds" type:"histogram" help:"Time from the arrival of a push to users or sessions at this node to the system call that sends it, including the wait for a busy shard."`
	FanoutLatency   Histogram         `metric:"belfry_fanout_latency_seconds" type:"histogram" help:"Time from the arrival of a push to topics or all at this node to a shard's last system call for it; one observation per shard."`
	ControlsDropped uint64            `metric:"belfry_control_frames_dropped_total" type:"counter" help:"Pings and pongs that waited for a client that does not read, and were replaced by a newer one or dropped at backlog.node_bytes."`
}

// Deflate counts compressed messages (deflate.enabled).
type Deflate struct {
	Messages map[string]uint64  `metric:"belfry_deflate_messages_total" type:"counter" label:"direction" help:"Messages that were compressed (out; a broadcast counts once) and messages of clients that were inflated (in)."`
	Saved    uint64             `metric:"belfry_deflate_saved_bytes_total" type:"counter" help:"Bytes by which compression made messages smaller; a broadcast counts once."`
	Inflated uint64             `metric:"belfry_deflate_inflated_bytes_total" type:"counter" help:"Bytes of clients' compressed messages after inflating."`
	Buffers  uint64             `metric:"belfry_deflate_buffer_bytes" type:"gauge" help:"Bytes of the buffers that clients' messages are inflated into: at most two of session.max_message for each shard. session.inbound_bytes does not count them."`
	Seconds  map[string]float64 `metric:"belfry_deflate_seconds_total" type:"counter" label:"direction" help:"Time spent on compressing (out) and inflating (in)."`
}

// Shards describes the event loops.
type Shards struct {
	Number      uint64             `metric:"belfry_shards" type:"gauge" help:"Event loops."`
	IOURing     uint64             `metric:"belfry_shards_io_uring" type:"gauge" help:"Event loops that send through io_uring (fanout.io_uring); each starts it with its first send."`
	TickAge     map[string]float64 `metric:"belfry_shard_tick_age_seconds" type:"gauge" label:"shard" help:"Time since the shard's last tick, which comes once a second; more than a few seconds means a stalled shard."`
	Busy        map[string]float64 `metric:"belfry_shard_busy_seconds_total" type:"counter" label:"shard" help:"Time a shard spent working, without waiting for events; a rate of 1 is a shard at its limit."`
	Stalls      uint64             `metric:"belfry_shard_stalls_total" type:"counter" help:"Times a shard did not run for three seconds or more: stopped, or short of CPU."`
	Behind      uint64             `metric:"belfry_shard_behind_seconds_total" type:"counter" help:"Seconds that the clocks of shards left out because they had not read everything that had arrived, or many clients answered pings late. Any lasting rate means overload; the most is 0.5 a shard."`
	Panics      uint64             `metric:"belfry_shard_panics_total" type:"counter" help:"Faults of belfry caught in a shard; each usually cost one connection. The log has the stack."`
	MailboxFull map[string]uint64  `metric:"belfry_mailbox_full_total" type:"counter" label:"lane" help:"Items that found a shard's mailbox full."`
	Offheap     map[string]uint64  `metric:"belfry_offheap_bytes" type:"gauge" label:"owner" help:"Memory outside the Go heap by purpose: pages that were used and not given back to the kernel. go_memstats does not include it."`
}

// Cluster counts what nodes know of each other's users. All are 0 on a node that can
// have no other.
type Cluster struct {
	Sessions    map[string]uint64 `metric:"belfry_cluster_sessions" type:"gauge" label:"of" help:"Sessions of users that this node remembers: its own, and those that it keeps for other nodes."`
	Pending     uint64            `metric:"belfry_cluster_pending" type:"gauge" help:"User buckets of other nodes that this node keeps and does not know completely yet."`
	Bodies      uint64            `metric:"belfry_cluster_announcements_total" type:"counter" help:"Announcements of this node's sessions that other nodes confirmed."`
	Failed      uint64            `metric:"belfry_cluster_announcements_failed_total" type:"counter" help:"Announcements that were not confirmed in time; everything is compared afterwards."`
	Restated    uint64            `metric:"belfry_cluster_restated_total" type:"counter" help:"User buckets announced as a whole because another node did not have the same."`
	Lost        uint64            `metric:"belfry_cluster_lost_sessions_total" type:"counter" help:"Sessions of other nodes that this node kept when they were gone without having left."`
	Asked       uint64            `metric:"belfry_cluster_asked_total" type:"counter" help:"Users about whom other nodes asked this one."`
	Events      map[string]uint64 `metric:"belfry_cluster_events_total" type:"counter" label:"kind" help:"Events published on belfry.events.> (cluster.events), by kind; users: lists of a bucket."`
	EventsLost  map[string]uint64 `metric:"belfry_cluster_events_lost_total" type:"counter" label:"cause" help:"Events that were not published: no room (bytes: cluster.events_bytes), or NATS did not take them (nats)."`
	EventsBytes uint64            `metric:"belfry_cluster_events_bytes" type:"gauge" help:"Bytes of events that wait to be published (cluster.events_bytes)."`
	Malformed   uint64            `metric:"belfry_cluster_malformed_total" type:"counter" help:"Announcements of other nodes that could not be read."`

	CapsAsked   map[string]uint64 `metric:"belfry_cluster_caps_asked_total" type:"counter" label:"answer" help:"Sessions about which the homes of their users were asked before they opened (session.per_user_policy refuse-newest). unsure: the home did not answer within a second, or does not know all sessions of the user; the client was admitted."`
	CapsEvicted uint64            `metric:"belfry_cluster_caps_evicted_total" type:"counter" help:"Sessions that this node, as the home of their users, had closed because a user had too many in the cluster."`
	CapsOver    uint64            `metric:"belfry_cluster_caps_over" type:"gauge" help:"Users with too many sessions in the cluster whose home is this node."`
}

// Routes counts pushes to users that go through the homes of the users. All are 0 on a
// node that can have no other.
type Routes struct {
	Relayed     uint64            `metric:"belfry_route_relayed_total" type:"counter" help:"Pushes sent to the home of their user bucket."`
	Confirmed   uint64            `metric:"belfry_route_confirmed_total" type:"counter" help:"Of these, pushes that the home confirmed."`
	Copies      uint64            `metric:"belfry_route_copies_total" type:"counter" help:"Copies that this node, as the home, sent to nodes that have the users."`
	ToAll       map[string]uint64 `metric:"belfry_route_to_all_total" type:"counter" label:"by" help:"Pushes to users sent to all nodes: by the home, because it did not know all nodes that have the users; by the publishing node, because the home was not known or did not confirm."`
	Republished uint64            `metric:"belfry_route_republished_total" type:"counter" help:"Pushes sent again, to all nodes, because the home did not confirm them."`
	Fallbacks   map[string]uint64 `metric:"belfry_route_fallbacks_total" type:"counter" label:"cause" help:"Times that this node stopped to use a home: no confirmation in time, refused by the home, or too many pushes without confirmation."`
	Held        uint64            `metric:"belfry_route_held_total" type:"counter" help:"Times that pushes of a user bucket waited because their path changed."`
	Fences      uint64            `metric:"belfry_route_fences_total" type:"counter" help:"Fences sent: other nodes answer them when all pushes before them have arrived."`
	Overdue     uint64            `metric:"belfry_route_fences_overdue_total" type:"counter" help:"Fences that a node did not answer in time; copies that reach it later are lost there."`
	Dropped     uint64            `metric:"belfry_route_dropped_total" type:"counter" help:"Copies dropped, because the push came before by another path, or because they came too late."`
	Late        uint64            `metric:"belfry_route_late_total" type:"counter" help:"Pushes lost, because a later one of their node to a user of the same bucket was delivered before: this node was stopped or cut off."`
	Refused     uint64            `metric:"belfry_route_refused_total" type:"counter" help:"Times that this node, as the home, refused the pushes of another node."`
	Overheard   uint64            `metric:"belfry_route_overheard_total" type:"counter" help:"Pushes delivered from the traffic to other homes, which this node takes while homes do not know its sessions."`
	Overhearing uint64            `metric:"belfry_route_overhearing" type:"gauge" help:"1 while this node takes the traffic to other homes, else 0."`
	Expected    uint64            `metric:"belfry_route_expected_total" type:"counter" help:"Sessions that were announced to the home before they opened."`
	Waiting     uint64            `metric:"belfry_route_waiting" type:"gauge" help:"Upgrades that wait until the home of the user expects the session."`
}

// Bus counts messages between nodes.
type Bus struct {
	Connected      uint64            `metric:"belfry_bus_connected" type:"gauge" help:"1 while NATS is connected, else 0."`
	Reconnects     uint64            `metric:"belfry_bus_reconnects_total" type:"counter" help:"Times that the connection to NATS was made again."`
	Peers          uint64            `metric:"belfry_bus_peers" type:"gauge" help:"Other nodes whose beacons arrived recently."`
	Unheard        uint64            `metric:"belfry_bus_peers_unheard" type:"gauge" help:"Nodes whose beacons other nodes receive and this node does not."`
	Subscriptions  uint64            `metric:"belfry_bus_subscriptions" type:"gauge" help:"NATS subjects this node subscribes to."`
	Topics         uint64            `metric:"belfry_bus_topics" type:"gauge" help:"Topics this node subscribes to, including those without a local subscriber."`
	Buckets        uint64            `metric:"belfry_bus_user_buckets" type:"gauge" help:"User buckets (of 4096) with a session on this node."`
	Lingering      uint64            `metric:"belfry_bus_lingering" type:"gauge" help:"Topics that stay subscribed without a local subscriber (nats.max_lingering)."`
	Published      uint64            `metric:"belfry_bus_published_total" type:"counter" help:"Messages accepted for this node and the bus."`
	Sent           uint64            `metric:"belfry_bus_sent_total" type:"counter" help:"Messages that NATS confirmed; a push to several users or topics is several messages."`
	Received       uint64            `metric:"belfry_bus_received_total" type:"counter" help:"Messages received from NATS."`
	Delivered      uint64            `metric:"belfry_bus_delivered_total" type:"counter" help:"Messages received from NATS and handed to this node's shards."`
	Refused        map[string]uint64 `metric:"belfry_bus_refused_total" type:"counter" label:"cause" help:"Messages refused before any delivery: the outbox or a mailbox was full, or this NATS cannot carry them."`
	Lost           map[string]uint64 `metric:"belfry_bus_lost_total" type:"counter" label:"cause" help:"Messages lost between nodes, by cause."`
	Gaps           uint64            `metric:"belfry_bus_gaps_total" type:"counter" help:"Numbered messages of other nodes that did not arrive."`
	Faults         uint64            `metric:"belfry_bus_faults_total" type:"counter" help:"Faults of belfry caught on the bus; each cost one message at most. The log has the stack."`
	Malformed      uint64            `metric:"belfry_bus_malformed_total" type:"counter" help:"Messages from NATS that were not valid and were dropped."`
	Duplicates     uint64            `metric:"belfry_bus_duplicates_total" type:"counter" help:"Messages from NATS that had arrived before and were dropped."`
	Denied         uint64            `metric:"belfry_bus_denied_total" type:"counter" help:"Subscriptions and messages that NATS permissions refused."`
	DuplicateNodes uint64            `metric:"belfry_bus_duplicate_nodes_total" type:"counter" help:"Other processes seen with this node's name."`
	ControlSent    uint64            `metric:"belfry_bus_control_sent_total" type:"counter" help:"Commands to other nodes, and answers to their commands, that NATS took."`
	ControlIn      uint64            `metric:"belfry_bus_control_received_total" type:"counter" help:"Commands and answers received from other nodes."`
	ControlDropped map[string]uint64 `metric:"belfry_bus_control_dropped_total" type:"counter" label:"cause" help:"Commands and answers of other nodes that had no effect. queue: too many waited; unknown: this version does not know the command; late: nobody waits for the answer any more."`
	ControlTimeout uint64            `metric:"belfry_bus_control_timeouts_total" type:"counter" help:"Nodes that did not answer a command in time."`
	OutboxMessages uint64            `metric:"belfry_bus_outbox_messages" type:"gauge" help:"Messages waiting to be sent to NATS."`
	OutboxBytes    uint64            `metric:"belfry_bus_outbox_bytes" type:"gauge" help:"Bytes waiting to be sent to NATS."`
}

// HTTP counts requests to the API.
type HTTP struct {
	Requests           map[[2]string]uint64 `metric:"belfry_http_requests_total" type:"counter" label:"route,status" help:"Requests answered, by route and status."`
	Rejected           map[string]uint64    `metric:"belfry_http_rejected_total" type:"counter" label:"cause" help:"Requests refused, by cause, including those that did not reach a route."`
	BatchLines         uint64               `metric:"belfry_http_batch_lines_total" type:"counter" help:"Lines of batches accepted."`
	BatchLinesRejected map[string]uint64    `metric:"belfry_http_batch_lines_rejected_total" type:"counter" label:"cause" help:"Lines of batches refused, by cause."`
	Waited             uint64               `metric:"belfry_http_paced_total" type:"counter" help:"Pushes that waited because their shard was busy (api.push_wait)."`
	PayloadBytes       uint64               `metric:"belfry_http_payload_bytes_total" type:"counter" help:"Payload bytes accepted."`
	WaitRefused        uint64               `metric:"belfry_http_pace_refused_total" type:"counter" help:"Pushes refused because too many were waiting for busy shards: half of api.max_requests for one shard, three quarters for all."`
	Duration           map[string]Histogram `metric:"belfry_http_request_duration_seconds" type:"histogram" label:"route" help:"Time from the end of a request's head to the end of its answer, including its body and the wait for a busy shard; of a batch, including all lines."`
	KeyRequests        map[string]uint64    `metric:"belfry_http_key_requests_total" type:"counter" label:"key" help:"Requests under /v1/ by the name of their API key (api.keys); unnamed is a key without a name, none a request without a valid key."`
	KeyPushes          map[string]uint64    `metric:"belfry_http_key_pushes_total" type:"counter" label:"key" help:"Messages accepted, including lines of batches, by the name of the API key."`
	InFlight           uint64               `metric:"belfry_http_requests_in_flight" type:"gauge" help:"Requests under /v1/ and lines of batches being served, without those whose body is still arriving; bounded by api.max_requests."`
	Bodies             uint64               `metric:"belfry_http_bodies" type:"gauge" help:"Request bodies that are arriving, batches included; bounded by api.max_bodies."`
	BodyBytes          uint64               `metric:"belfry_http_bodies_bytes" type:"gauge" help:"Bytes of arriving request bodies that the node holds; bounded by api.body_bytes."`
	Connections        uint64               `metric:"belfry_http_connections" type:"gauge" help:"Open connections to the API."`
	BodiesCut          uint64               `metric:"belfry_http_bodies_cut_total" type:"counter" help:"Requests whose body was not read to its end; their connections are closed."`
	ConnectionsEvicted uint64               `metric:"belfry_http_connections_evicted_total" type:"counter" help:"Connections closed at api.max_connections to make room for new ones."`
	ConnectionsRefused uint64               `metric:"belfry_http_connections_refused_total" type:"counter" help:"Connections beyond api.max_connections while all of them were being served."`
	HandshakesFailed   uint64               `metric:"belfry_http_tls_failed_total" type:"counter" help:"Connections to the API whose TLS handshake failed: no common version, a client certificate that is missing or not signed by api.tls.client_ca, or HTTP without TLS."`
}

// JoinLeave counts what is told to the subscribers of the topics in session.join_leave.
type JoinLeave struct {
	Messages map[string]uint64 `metric:"belfry_join_leave_messages_total" type:"counter" label:"type" help:"Messages of this node about its sessions to the subscribers of topics (session.join_leave): join, leave, count."`
	Failed   uint64            `metric:"belfry_join_leave_failed_total" type:"counter" help:"Topics of which could not be told because shards or NATS were behind; how many subscribers they have is told later."`
	Waiting  uint64            `metric:"belfry_join_leave_topics" type:"gauge" help:"Topics of which there is something to tell, and large ones whose count was told a short time ago; bounded by 16 times session.join_leave_rate."`
}

// Reports counts pushes that wait for what became of them.
type Reports struct {
	Waiting uint64            `metric:"belfry_push_waits" type:"gauge" help:"Pushes with ?wait= whose reports are awaited; bounded by api.max_waits."`
	Ended   map[string]uint64 `metric:"belfry_push_waits_total" type:"counter" label:"result" help:"Pushes with ?wait= that were answered. complete: every node had reported; incomplete: a node was silent, or there may be nodes that this one does not know of."`
}

// Idempotency counts pushes with an Idempotency-Key, lines of batches included.
type Idempotency struct {
	Keys   uint64            `metric:"belfry_idempotency_keys" type:"gauge" help:"Idempotency-Keys that this node remembers, for itself and for other nodes; bounded by api.idempotency.max_keys."`
	Bytes  uint64            `metric:"belfry_idempotency_bytes" type:"gauge" help:"Bytes of these keys and of the answers to their requests, about; bounded by api.idempotency.max_bytes."`
	Claims map[string]uint64 `metric:"belfry_idempotency_requests_total" type:"counter" label:"result" help:"Pushes with an Idempotency-Key. new: delivered, or refused for another reason; replayed: answered with the first answer; in_progress: refused because the first one had no answer yet (409); reused: refused because the key was used with another request (422); unavailable: refused because nodes that may know the key did not answer, or there was no room for it (503)."`
	Asked  uint64            `metric:"belfry_idempotency_asked_total" type:"counter" help:"Keys about which all nodes were asked, because a node came or went within api.idempotency.window."`
}

// Log counts lines that could not be written.
type Log struct {
	Lost   uint64 `metric:"belfry_log_lines_lost_total" type:"counter" help:"Log lines lost because standard error was not read fast enough for log.buffer, or not at all."`
	Failed uint64 `metric:"belfry_log_write_errors_total" type:"counter" help:"Writes to standard error that failed."`
}

// Handover counts hot restarts. After one that succeeds, this process serves on as its
// own successor: the counters begin anew, and Taken says how many sessions came along.
type Handover struct {
	Outcomes map[string]uint64 `metric:"belfry_handovers_total" type:"counter" label:"outcome" help:"Hand-overs to a successor by outcome. refused: the successor does not fit; aborted: taken back, this process goes on; served: the successor serves (this process ends)."`
	Sessions map[string]uint64 `metric:"belfry_handover_sessions_total" type:"counter" label:"state" help:"Sessions handed over to a successor; of these, resumed: came back; closed: were closed with 1012, because the successor died in the middle of a message."`
	Again    uint64            `metric:"belfry_handover_messages_again_total" type:"counter" help:"Messages, counted on each shard, that a successor had not sent when it died and that were sent here: clients to which it was sending at that moment may have got them twice."`
	Lost     uint64            `metric:"belfry_handover_messages_lost_total" type:"counter" help:"The same that were not kept (64 MiB for each shard): clients have missed them."`
	Taken    uint64            `metric:"belfry_taken_over_sessions" type:"gauge" help:"Sessions that this process took over from the one before when it started; 0 after an ordinary start."`
	Took     float64           `metric:"belfry_taken_over_seconds" type:"gauge" help:"Duration of that hand-over, from the first request to the first served connection."`
}
