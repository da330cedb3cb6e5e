package metrics

// Values is one reading of every metric. Its tags are the declaration:
//
//	metric  the name; groups add nothing to it
//	type    counter, gauge, or histogram for a field of type Histogram
//	help    what it counts
//	label   the label of a map's keys; two, joined by a comma, for map[[2]string]
//
// Counters never fall while the process lives. A map holds one series for
// each of its keys; its keys come from small fixed sets, never from clients.
type Values struct {
	Build    Build    `group:"Build"`
	Sessions Sessions `group:"Connections and sessions"`
	Traffic  Traffic  `group:"From clients and to clients"`
	Deflate  Deflate  `group:"Compression"`
	Shards   Shards   `group:"Shards and memory"`
	Bus      Bus      `group:"The bus"`
	HTTP     HTTP     `group:"The HTTP API"`
	Log      Log      `group:"The log"`
}

// Histogram is a distribution of observations, cumulative as Prometheus has it.
type Histogram struct {
	Count   uint64             // of all observations
	Sum     float64            // of all observations
	Buckets map[float64]uint64 // by upper bound: how many observations were at most that
}

// Build tells what runs.
type Build struct {
	Info map[[2]string]uint64 `metric:"belfry_build_info" type:"gauge" label:"version,goversion" help:"1, with the version of belfry and of Go as labels."`
}

// Sessions counts connections from accept to close.
type Sessions struct {
	Connections   uint64               `metric:"belfry_connections" type:"gauge" help:"Open client connections, those still upgrading included."`
	Limit         uint64               `metric:"belfry_connections_limit" type:"gauge" help:"Most client connections this node accepts (max_connections)."`
	Upgrading     uint64               `metric:"belfry_upgrades_pending" type:"gauge" help:"Connections without a complete request head (upgrade.max_pending)."`
	Protocols     map[[2]string]uint64 `metric:"belfry_sessions_by_protocol" type:"gauge" label:"transport,encoding" help:"Sessions by what their clients speak."`
	Waiting       uint64               `metric:"belfry_upgrades_waiting" type:"gauge" help:"Upgrades whose request head is complete and that wait for an answer (upgrade.max_waiting)."`
	Open          uint64               `metric:"belfry_sessions" type:"gauge" help:"Open sessions."`
	Users         uint64               `metric:"belfry_users" type:"gauge" help:"Users with a session on this node."`
	Topics        uint64               `metric:"belfry_topics" type:"gauge" help:"Topics with a subscriber, added up over the shards."`
	Subscriptions uint64               `metric:"belfry_subscriptions" type:"gauge" help:"Subscriptions of sessions to topics."`
	Accepted      uint64               `metric:"belfry_accepted_total" type:"counter" help:"Connections accepted."`
	AcceptErrors  map[string]uint64    `metric:"belfry_accept_errors_total" type:"counter" label:"errno" help:"Failed accepts by error; EMFILE and ENFILE mean that descriptors ran out."`
	HalfOpened    uint64               `metric:"belfry_half_open_total" type:"counter" help:"Connections whose request head was not complete after the first read; far more than usual is an attack, or clients on bad lines."`
	Unreadable    uint64               `metric:"belfry_forwarded_unreadable_total" type:"counter" help:"Requests of trusted proxies whose proxy.header could not be read; the proxy's address stood in for the client's."`
	BadGrants     uint64               `metric:"belfry_grants_invalid_total" type:"counter" help:"Clients refused because the authenticator granted a user id or topic that is not valid."`
	Upgrades      map[[2]string]uint64 `metric:"belfry_upgrades_total" type:"counter" label:"status,cause" help:"Upgrades by the HTTP status they were answered with and, for those refused, the cause; 101 is success. docs/protocol.md lists both."`
	Closed        map[string]uint64    `metric:"belfry_closed_total" type:"counter" label:"reason" help:"Connections ended, by reason; see the registry of close codes in docs/protocol.md."`
	Moves         uint64               `metric:"belfry_moves_total" type:"counter" help:"Connections moved to their user's shard."`
	MovesDeferred uint64               `metric:"belfry_moves_deferred_total" type:"counter" help:"Moves that waited because the mailbox of the next shard was full; accepting pauses meanwhile."`
	Pings         uint64               `metric:"belfry_pings_total" type:"counter" help:"Pings sent."`
	Pongs         uint64               `metric:"belfry_pongs_total" type:"counter" help:"Pongs received."`
	LimitsHit     map[string]uint64    `metric:"belfry_limits_hit_total" type:"counter" label:"limit" help:"Times that a limit refused something, by its setting; memory means that the kernel gave a shard's tables no more."`
}

// Traffic counts messages in both directions.
type Traffic struct {
	Messages       uint64            `metric:"belfry_client_messages_total" type:"counter" help:"Messages received from clients, commands included."`
	MessageBytes   uint64            `metric:"belfry_client_message_bytes_total" type:"counter" help:"Payload bytes received from clients."`
	InboundBytes   uint64            `metric:"belfry_inbound_bytes" type:"gauge" help:"Bytes of unfinished messages, of input that was received and not decoded yet, and of messages that clients publish; bounded by session.inbound_bytes."`
	Dropped        uint64            `metric:"belfry_client_messages_dropped_total" type:"counter" help:"Messages of plain clients that nobody takes (session.client_messages)."`
	Commands       map[string]uint64 `metric:"belfry_commands_total" type:"counter" label:"op" help:"Commands of belfry.v1 clients."`
	CommandErrors  map[string]uint64 `metric:"belfry_command_errors_total" type:"counter" label:"code" help:"Commands of belfry.v1 clients that were refused."`
	Pushes         map[string]uint64 `metric:"belfry_pushes_total" type:"counter" label:"scope" help:"Messages handed to this node's shards, from its own API and from the bus."`
	Deliveries     uint64            `metric:"belfry_deliveries_total" type:"counter" help:"Frames handed to sockets or, for slow clients, to their backlogs."`
	DeliveredBytes uint64            `metric:"belfry_delivered_bytes_total" type:"counter" help:"Bytes written to client sockets, framing included."`
	Undelivered    map[string]uint64 `metric:"belfry_deliveries_dropped_total" type:"counter" label:"policy" help:"Frames dropped for slow clients, by the policy that dropped them (backlog.policy)."`
	Passes         uint64            `metric:"belfry_fanout_passes_total" type:"counter" help:"Walks of a shard over its connections or a topic's subscribers."`
	Coalesced      uint64            `metric:"belfry_fanout_coalesced_total" type:"counter" help:"Messages that shared another message's pass."`
	Backlogged     uint64            `metric:"belfry_backlog_connections" type:"gauge" help:"Connections with frames waiting because the client reads too slowly."`
	BacklogBytes   uint64            `metric:"belfry_backlog_bytes" type:"gauge" help:"Bytes waiting for slow clients; bounded by backlog.node_bytes."`
	Slow           uint64            `metric:"belfry_backlog_events_total" type:"counter" help:"Sends of pushed messages that a socket did not take whole."`
	Overflows      map[string]uint64 `metric:"belfry_backlog_overflows_total" type:"counter" label:"bound" help:"Frames refused because the backlog of a connection (backlog.frames, backlog.bytes) or of the node (backlog.node_bytes) was full."`
	PushLatency    Histogram         `metric:"belfry_push_latency_seconds" type:"histogram" help:"Time from the arrival of a push to users or sessions at this node, waiting for a busy shard included, to the system call that wrote to its sockets."`
	FanoutLatency  Histogram         `metric:"belfry_fanout_latency_seconds" type:"histogram" help:"Time from the arrival of a push to topics or all at this node to the last system call of a shard that wrote it; one observation a shard."`
	ControlsLost   uint64            `metric:"belfry_control_frames_dropped_total" type:"counter" help:"Pongs and pings that waited for a client that does not read, replaced by a newer one or given up at backlog.node_bytes."`
}

// Deflate counts what permessage-deflate has done (deflate.enabled).
type Deflate struct {
	Messages map[string]uint64  `metric:"belfry_deflate_messages_total" type:"counter" label:"direction" help:"Messages compressed (out; a broadcast counts once) and messages of clients that were inflated (in)."`
	Saved    uint64             `metric:"belfry_deflate_saved_bytes_total" type:"counter" help:"Bytes by which compressed messages are smaller, before they are sent to their receivers."`
	Inflated uint64             `metric:"belfry_deflate_inflated_bytes_total" type:"counter" help:"Bytes that clients' compressed messages have inflated to."`
	Seconds  map[string]float64 `metric:"belfry_deflate_seconds_total" type:"counter" label:"direction" help:"Time spent on compressing (out) and inflating (in)."`
}

// Shards tells how the event loops are.
type Shards struct {
	Number      uint64             `metric:"belfry_shards" type:"gauge" help:"Event loops."`
	IOURing     uint64             `metric:"belfry_shards_io_uring" type:"gauge" help:"Event loops that send through io_uring (fanout.io_uring); each begins with the first it has to send."`
	TickAge     map[string]float64 `metric:"belfry_shard_tick_age_seconds" type:"gauge" label:"shard" help:"Time since the shard's last tick, which comes once a second; more than a few seconds is a stalled shard."`
	Busy        map[string]float64 `metric:"belfry_shard_busy_seconds_total" type:"counter" label:"shard" help:"Time that a shard worked, without its waits for events: its rate is the busy ratio, and 1 is a shard at its limit."`
	Stalls      uint64             `metric:"belfry_shard_stalls_total" type:"counter" help:"Times that a shard did not live through three or more seconds: stopped or starved."`
	Panics      uint64             `metric:"belfry_shard_panics_total" type:"counter" help:"Faults of belfry caught in a shard, most at the cost of one connection; the log has the stack."`
	MailboxFull map[string]uint64  `metric:"belfry_mailbox_full_total" type:"counter" label:"lane" help:"Items that found a shard's mailbox full."`
	Offheap     map[string]uint64  `metric:"belfry_offheap_bytes" type:"gauge" label:"owner" help:"Memory outside the Go heap, which go_memstats does not know, by what it is for: pages that have been used and not given back to the kernel."`
}

// Bus counts what goes between nodes.
type Bus struct {
	Connected      uint64            `metric:"belfry_bus_connected" type:"gauge" help:"1 while NATS is connected, else 0."`
	Reconnects     uint64            `metric:"belfry_bus_reconnects_total" type:"counter" help:"Times that NATS was connected again."`
	Peers          uint64            `metric:"belfry_bus_peers" type:"gauge" help:"Other nodes heard of lately."`
	Unheard        uint64            `metric:"belfry_bus_peers_unheard" type:"gauge" help:"Nodes that other nodes hear and this one does not."`
	Subscriptions  uint64            `metric:"belfry_bus_subscriptions" type:"gauge" help:"NATS subjects this node subscribes to."`
	Lingering      uint64            `metric:"belfry_bus_lingering" type:"gauge" help:"Topics still subscribed to without a subscriber here; bounded by nats.max_lingering."`
	Published      uint64            `metric:"belfry_bus_published_total" type:"counter" help:"Messages accepted for this node and the bus."`
	Received       uint64            `metric:"belfry_bus_received_total" type:"counter" help:"Messages received from NATS."`
	Refused        map[string]uint64 `metric:"belfry_bus_refused_total" type:"counter" label:"cause" help:"Messages refused before anybody got them: the outbox or a shard's mailbox was full, or nothing can be sent through this NATS."`
	Lost           map[string]uint64 `metric:"belfry_bus_lost_total" type:"counter" label:"cause" help:"Messages lost between nodes, by cause."`
	Gaps           uint64            `metric:"belfry_bus_gaps_total" type:"counter" help:"Gaps seen in what other nodes number."`
	Faults         uint64            `metric:"belfry_bus_faults_total" type:"counter" help:"Faults of belfry caught on the bus, each at the cost of one message at most; the log has the stack."`
	Malformed      uint64            `metric:"belfry_bus_malformed_total" type:"counter" help:"Messages from NATS that could not be read."`
	Duplicates     uint64            `metric:"belfry_bus_duplicates_total" type:"counter" help:"Messages from NATS that had come before and were dropped."`
	Denied         uint64            `metric:"belfry_bus_denied_total" type:"counter" help:"Subscriptions and messages that NATS permissions refused."`
	DuplicateNodes uint64            `metric:"belfry_bus_duplicate_nodes_total" type:"counter" help:"Other processes seen that go by this node's name."`
	OutboxMessages uint64            `metric:"belfry_bus_outbox_messages" type:"gauge" help:"Messages waiting to be sent to NATS."`
	OutboxBytes    uint64            `metric:"belfry_bus_outbox_bytes" type:"gauge" help:"Bytes waiting to be sent to NATS."`
}

// HTTP counts what backends ask.
type HTTP struct {
	Requests           map[[2]string]uint64 `metric:"belfry_http_requests_total" type:"counter" label:"route,status" help:"Requests answered, by route and status."`
	Rejected           map[string]uint64    `metric:"belfry_http_rejected_total" type:"counter" label:"cause" help:"Requests refused, by cause, including those that never got to a route."`
	BatchLines         uint64               `metric:"belfry_http_batch_lines_total" type:"counter" help:"Lines of batches accepted."`
	BatchLinesRejected map[string]uint64    `metric:"belfry_http_batch_lines_rejected_total" type:"counter" label:"cause" help:"Lines of batches refused, by cause."`
	Paced              uint64               `metric:"belfry_http_paced_total" type:"counter" help:"Pushes that waited because a shard was behind (api.push_wait)."`
	PayloadBytes       uint64               `metric:"belfry_http_payload_bytes_total" type:"counter" help:"Payload bytes accepted."`
	PaceRefused        uint64               `metric:"belfry_http_pace_refused_total" type:"counter" help:"Pushes refused because too many waited for a busy shard already: half of api.max_requests for one, three quarters for all."`
	Duration           map[string]Histogram `metric:"belfry_http_request_duration_seconds" type:"histogram" label:"route" help:"Time from the end of a request's head to the end of its answer, its body and waiting for a busy shard included; of a batch, all its lines."`
	KeyRequests        map[string]uint64    `metric:"belfry_http_key_requests_total" type:"counter" label:"key" help:"Requests under /v1/ by the name of their API key (api.keys); unnamed for a key without one, none without a valid key."`
	KeyPushes          map[string]uint64    `metric:"belfry_http_key_pushes_total" type:"counter" label:"key" help:"Messages accepted, lines of batches included, by the name of the API key."`
	InFlight           uint64               `metric:"belfry_http_requests_in_flight" type:"gauge" help:"Requests under /v1/ and lines of batches being served, bodies on their way in aside; bounded by api.max_requests."`
	Bodies             uint64               `metric:"belfry_http_bodies" type:"gauge" help:"Request bodies on their way in, batches included; bounded by api.max_bodies."`
	BodyBytes          uint64               `metric:"belfry_http_bodies_bytes" type:"gauge" help:"Bytes held of request bodies on their way in; bounded by api.body_bytes."`
	Connections        uint64               `metric:"belfry_http_connections" type:"gauge" help:"Open connections to the API."`
	BodiesCut          uint64               `metric:"belfry_http_bodies_cut_total" type:"counter" help:"Requests whose body was not read to its end: too much came after a refusal, or a batch had no whole line in time or was stopped. Their connections are closed."`
	ConnectionsEvicted uint64               `metric:"belfry_http_connections_evicted_total" type:"counter" help:"Connections that gave way to new ones at api.max_connections: answered, waiting for a request, or not read by their clients."`
	ConnectionsRefused uint64               `metric:"belfry_http_connections_refused_total" type:"counter" help:"Connections beyond api.max_connections while all of them were being served."`
}

// Log counts what became of the log's lines.
type Log struct {
	Lost   uint64 `metric:"belfry_log_lines_lost_total" type:"counter" help:"Log lines lost because standard error was read too slowly for log.buffer, or not at all."`
	Failed uint64 `metric:"belfry_log_write_errors_total" type:"counter" help:"Writes to standard error that failed."`
}
