package config

import "time"

// Config is every setting. The tags of a field are its whole declaration:
//
//	yaml    the key in the file; the path of keys names the setting
//	doc     one sentence or two for people
//	default the default; without it false, 0, an empty text or an empty list
//	range   "lo..hi", inclusive, in the field's own notation
//	zero    what 0 (or an empty text or list) means, if it is allowed besides the range
//	enum    the allowed words, separated by |
//	dev     the default under dev, if it differs
//	flag    the command-line flag, if the setting has one
//
// Durations are written "25s" or "300us"; sizes "64KiB", "1MiB" or plain bytes.
type Config struct {
	Dev            bool     `yaml:"dev" flag:"dev" doc:"Development mode: accepts ?uid= and ?topic= without proof, serves /echo and the demo page. Never on a public address."`
	Listen         []string `yaml:"listen" flag:"listen" default:":8080" dev:"127.0.0.1:8080" doc:"Addresses for clients, each host:port or host:first-last; IPv6 hosts in brackets, no host for all addresses."`
	Path           string   `yaml:"path" default:"/ws" doc:"Path of the WebSocket endpoint."`
	MaxConnections int      `yaml:"max_connections" range:"1..16777216" zero:"the limit of open files less a reserve" doc:"Connections this node accepts; further upgrades get 503 with Retry-After."`
	Shards         int      `yaml:"shards" flag:"shards" range:"1..256" zero:"one for each core" doc:"Event loops, each with its own epoll set, tables and timers."`
	GOMAXPROCS     int      `yaml:"gomaxprocs" range:"3..1024" zero:"the larger of cores and shards + 2" doc:"Threads that run Go code; at least shards + 2, so that HTTP and NATS can run while all shards are busy."`

	Node     Node      `yaml:"node" doc:"The name of this node."`
	TLS      ClientTLS `yaml:"tls" doc:"TLS for clients (wss, https), in this process. docs/tls.md says what it costs and when a proxy in front is better."`
	Proxy    Proxy     `yaml:"proxy" doc:"Proxies in front of this node, and how they pass on the client's address."`
	Upgrade  Upgrade   `yaml:"upgrade" doc:"The HTTP request with which a client connects."`
	Deflate  Deflate   `yaml:"deflate" doc:"Compression of WebSocket messages (permessage-deflate), for clients that offer it."`
	SSE      SSE       `yaml:"sse" doc:"Server-Sent Events, for clients that only receive: messages over plain HTTP."`
	Auth     Auth      `yaml:"auth" doc:"Who clients are, and what they may do; docs/auth.md explains it."`
	Session  Session   `yaml:"session" doc:"What a session may do, and how long it may be silent."`
	Backlog  Backlog   `yaml:"backlog" doc:"Limits for clients that read more slowly than messages arrive."`
	Fanout   Fanout    `yaml:"fanout" doc:"How a message is sent to the connections of a shard."`
	API      API       `yaml:"api" doc:"The HTTP API for backends, with health and metrics."`
	Gateway  Gateway   `yaml:"gateway" doc:"Messages of clients, and news of their sessions, as HTTP calls to backends."`
	Cluster  Cluster   `yaml:"cluster" doc:"What the nodes of a cluster know of each other's users; docs/cluster.md explains it."`
	NATS     NATS      `yaml:"nats" doc:"The bus between nodes: embedded by default, external with url."`
	Control  Control   `yaml:"control" doc:"Hot restart: another process takes over every connection (docs/handover.md)."`
	Shutdown Shutdown  `yaml:"shutdown" doc:"What happens between SIGTERM and exit."`
	Log      Log       `yaml:"log" doc:"The log goes to standard error: one line for each event, without payloads."`
}

// Default returns the default of every setting.
func Default() Config {
	var c Config
	for _, s := range c.Settings() {
		if s.def == "" {
			continue
		}
		if err := s.Set(s.def); err != nil {
			panic("config: default of " + s.Path + ": " + err.Error()) // the tag is wrong; every test finds it
		}
	}
	return c
}

// Node is the section node.
type Node struct {
	Name string `yaml:"name" flag:"node-name" zero:"the host name and four random hex digits" doc:"Name of this node, different from all others in the cluster: 1 to 64 of A-Z a-z 0-9 _ - and dots."`
}

// Proxy is the section proxy.
type Proxy struct {
	Protocol []string `yaml:"protocol" zero:"none" doc:"Entries of listen where every connection starts with a PROXY protocol header (v1 or v2); a connection without one is refused."`
	Trusted  []string `yaml:"trusted" zero:"none" doc:"Networks of proxies (10.0.0.0/8, ::1) that belfry trusts to name the client's address. proxy.header is ignored from any other address. If this list is set, the PROXY protocol is refused from any other address too."`
	Header   string   `yaml:"header" default:"x-forwarded-for" enum:"x-forwarded-for|forwarded" doc:"Header in which the trusted proxies name the client's address. The other header is ignored, because a proxy may forward what a client wrote there."`
}

// Upgrade is the section upgrade.
type Upgrade struct {
	MaxHead        Size          `yaml:"max_head" default:"8KiB" range:"1KiB..16KiB" doc:"Largest request head; a longer one gets 431."`
	Timeout        time.Duration `yaml:"timeout" default:"10s" range:"1s..5m" doc:"Time from accept to a complete request head."`
	MaxPending     int           `yaml:"max_pending" default:"16384" range:"1..1048576" doc:"Connections without a complete request head. One address (IPv6: its /64) may hold half of them; then its oldest is closed. If all places are taken, new connections get 503."`
	MaxWaiting     int           `yaml:"max_waiting" default:"16384" range:"1..1048576" doc:"Upgrades with a complete request that wait for authentication or for subscriptions; further ones get 503."`
	MaxPerAddress  int           `yaml:"max_per_address" range:"1..16777216" zero:"no limit" doc:"Connections from one address (IPv6: its /64); further ones get 429. Off by default, because many clients may share the address of one proxy (see proxy.trusted)."`
	RatePerAddress int           `yaml:"rate_per_address" range:"1..1048576" zero:"no limit" doc:"New connections per second from one address (IPv6: its /64), twice as many at once; further ones get 429, or are closed before the TLS handshake."`
	Health         bool          `yaml:"health" default:"true" doc:"Answer GET /healthz with 200 or 503 at the addresses of listen, for load balancers that can only check that port."`
	Rate           int           `yaml:"rate" range:"1..1048576" zero:"no limit" doc:"New connections per second on this node, so that a storm of clients does not reach what authenticates them; further ones get 503 with a random Retry-After, before their request is parsed; over TLS they are closed before the handshake. GET /healthz is answered."`
	Burst          int           `yaml:"burst" range:"1..16777216" zero:"twice upgrade.rate" doc:"Connections at once before upgrade.rate applies."`
	WaitingBytes   Size          `yaml:"waiting_bytes" default:"64MiB" range:"64KiB..64GiB" doc:"Bytes of requests, and of credentials sent after them, that wait for authentication; further clients get 503, and further auth commands the error unavailable."`
	Origins        []string      `yaml:"origins" zero:"the request's own host" doc:"Web pages that may connect, by their origin: https://app.example.com, https://*.example.com, http://localhost:* for any port, null, file://, or * for any. Without a list under dev: pages of this machine, and pages of the request's host on any port."`
	RetryAfter     time.Duration `yaml:"retry_after" default:"5s" range:"1s..1h" doc:"Retry-After of a 503 answer."`
}

// Deflate is the section deflate.
type Deflate struct {
	Enabled  bool `yaml:"enabled" default:"true" doc:"Compress messages for clients that offer it. A broadcast is compressed once for all clients; an idle connection needs no memory for it."`
	MinBytes Size `yaml:"min_bytes" default:"1KiB" range:"1..16MiB" doc:"Smallest message that is compressed; smaller ones are sent without compression."`
	Level    int  `yaml:"level" default:"1" range:"1..9" doc:"Level of compression: 1 is the fastest, 9 gives the smallest messages."`
}

// SSE is the section sse.
type SSE struct {
	Path  string        `yaml:"path" default:"/sse" zero:"not served" doc:"Path of the event stream; ?topic= subscribes, as for a WebSocket."`
	Retry time.Duration `yaml:"retry" default:"3s" range:"100ms..1h" doc:"How long a client waits before it connects again after its connection was lost."`
}

// Session is the section session.
type Session struct {
	MaxMessage       Size          `yaml:"max_message" default:"64KiB" range:"125..64MiB" doc:"Largest message from a client, all fragments together, compressed or not; a larger one closes with 1009. A shard inflates a compressed message without a break, 1.5 to 7 ms for each MiB, in which its other clients wait: with a large limit consider deflate.enabled: false."`
	MaxFragments     int           `yaml:"max_fragments" default:"1024" range:"1..1048576" doc:"Most fragments of one message from a client; more close with 1009."`
	MessageTimeout   time.Duration `yaml:"message_timeout" default:"30s" range:"1s..10m" zero:"no limit" doc:"Time from the first byte of a client's message to its last; then 4008."`
	InboundBytes     Size          `yaml:"inbound_bytes" range:"1MiB..1TiB" zero:"a share of memory" doc:"Bytes of clients' input this node may hold: unfinished messages, input not yet decoded, and messages clients publish. Beyond it the session that holds most is closed with 4007."`
	MessageRate      int           `yaml:"message_rate" default:"200" range:"1..1000000" zero:"no limit" doc:"Messages per second from one session, including commands, pings and fragments. A faster session is slowed down (belfry.v1: err rate_limited) and after session.rate_grace closed with 1008."`
	MessageBurst     int           `yaml:"message_burst" default:"1000" range:"1..10000000" doc:"Messages a session may send at once before session.message_rate applies."`
	ByteRate         Size          `yaml:"byte_rate" default:"512KiB" range:"1KiB..1GiB" zero:"no limit" doc:"Bytes per second from one session; a compressed message counts with its inflated size. A faster session is treated as with session.message_rate."`
	ByteBurst        Size          `yaml:"byte_burst" default:"4MiB" range:"1KiB..1GiB" doc:"Bytes a session may send at once before session.byte_rate applies; never less than session.max_message."`
	CommandRate      int           `yaml:"command_rate" default:"50" range:"1..1000000" zero:"no limit" doc:"Commands per second from one belfry.v1 session; a faster session is treated as with session.message_rate. A sub or unsub counts once for each topic, a pub once for each name in its target."`
	CommandBurst     int           `yaml:"command_burst" default:"500" range:"1..10000000" doc:"Commands a session may send at once before session.command_rate applies; never less than session.max_topics."`
	RateGrace        time.Duration `yaml:"rate_grace" default:"10s" range:"1s..10m" zero:"closed at once" doc:"How long a session may keep exceeding its rates (it is slowed down meanwhile) before it is closed with 1008."`
	CommandTokens    int           `yaml:"command_tokens" default:"1024" range:"300..1048576" doc:"JSON tokens in the objects and arrays of one belfry.v1 command; more get the error bad_request."`
	ClientMessages   string        `yaml:"client_messages" default:"drop" enum:"drop|refuse" doc:"What happens to data that a plain client sends: drop counts and drops it, refuse closes with 1008."`
	PublishQueue     int           `yaml:"publish_queue" default:"1024" range:"1..65536" doc:"Messages of a shard's clients that may wait to be published; a further pub gets the error unavailable."`
	MaxTopics        int           `yaml:"max_topics" default:"128" range:"1..4096" doc:"Most topics of one session."`
	MaxPerUser       int           `yaml:"max_per_user" default:"64" range:"1..1048576" zero:"no limit" doc:"Most sessions of one user, in the whole cluster; session.per_user_policy says what happens beyond it. Set the same on all nodes. docs/cluster.md says how exact it is while nodes cannot reach each other."`
	MaxPerUserClass  []string      `yaml:"max_per_user_class" zero:"no limits" doc:"Most sessions of one user by class of device, besides session.max_per_user: a list like phone:1,web:2, at most 64; 0 is no limit. The token or the connect webhook names the class (device_class)."`
	PerUserPolicy    string        `yaml:"per_user_policy" default:"evict-oldest" enum:"evict-oldest|refuse-newest" doc:"What happens beyond session.max_per_user and session.max_per_user_class: evict-oldest closes the oldest session of the user (of the class) with 4006, refuse-newest refuses the new one with 429 or, if it asked for a subprotocol of belfry, with 4006."`
	Presence         []string      `yaml:"presence" zero:"none" doc:"Topics of which clients may ask who is subscribed (belfry.v1, presence): topics, topics followed by .*, and *; a whole token may be {uid}. Others get the error forbidden."`
	PresenceMembers  int           `yaml:"presence_members" default:"100" range:"1..1000" zero:"only counts" doc:"Most subscribers of a topic that an answer to presence lists; of topics with more it has only the count."`
	MaxPresence      int           `yaml:"max_presence" default:"256" range:"1..1048576" doc:"Presence commands of this node's clients that wait for the answers of other nodes; further ones get the error unavailable."`
	JoinLeave        []string      `yaml:"join_leave" zero:"none" doc:"Topics whose belfry.v1 subscribers are told who subscribes to and leaves them (join, leave, count): topics, topics followed by .*, and *. Set it when all nodes of a cluster know it: an older one passes these messages on as pushed ones."`
	JoinLeaveMembers int           `yaml:"join_leave_members" default:"100" range:"1..1000" zero:"only counts" doc:"Most subscribers of a topic who are told who joins and leaves; those of topics with more are told only how many there are, and less often the more there are."`
	JoinLeaveRate    int           `yaml:"join_leave_rate" default:"256" range:"1..4096" doc:"Topics per second of whose changes a node tells; others wait. Of 16 times as many the changes may wait, further ones are not told."`
	MaxDeciding      int           `yaml:"max_deciding" default:"4096" range:"1..1048576" doc:"Subscriptions of this node's clients about which a subscribe webhook may be deciding; a further sub gets the error undecided."`
	LastSeen         time.Duration `yaml:"last_seen" default:"24h" range:"1s..8760h" zero:"off" doc:"How long this node remembers, in memory only, when the last session of a user ended here, for last_seen in GET /v1/users/{uid} and POST /v1/presence."`
	LastSeenUsers    int           `yaml:"last_seen_users" default:"131072" range:"1..33554432" doc:"Users of whom session.last_seen is remembered, 12 bytes each; beyond it others are forgotten earlier, a few of them when it is nearly reached."`
	MaxAcks          int           `yaml:"max_acks" default:"131072" range:"1..16777216" doc:"Sessions of this node whose acknowledgements of pushes with ?ack=1 may be awaited at once, each counted for every message; further ones count as not able to acknowledge. Each takes about 50 bytes."`
	KeepAgent        bool          `yaml:"keep_agent" doc:"Keep the User-Agent of every session (its first 128 bytes, each different one once), for GET /v1/users/{uid}; about 40 bytes a session. Without it only sessions with a route of the gateway have theirs."`
	UserMessageRate  int           `yaml:"user_message_rate" range:"1..1000000" zero:"no limit" doc:"Messages per second from all sessions of one user on this node together; its sessions are treated as with session.message_rate."`
	UserMessageBurst int           `yaml:"user_message_burst" default:"2000" range:"1..10000000" doc:"Messages all sessions of a user may send at once before session.user_message_rate applies."`
	UserByteRate     Size          `yaml:"user_byte_rate" range:"1KiB..1GiB" zero:"no limit" doc:"Bytes per second from all sessions of one user on this node together; its sessions are treated as with session.message_rate."`
	UserByteBurst    Size          `yaml:"user_byte_burst" default:"8MiB" range:"1KiB..1GiB" doc:"Bytes all sessions of a user may send at once before session.user_byte_rate applies; never less than session.max_message."`
	PingInterval     time.Duration `yaml:"ping_interval" default:"25s" range:"1s..1h" zero:"no pings" doc:"Time without input from a client after which it is pinged. During a fan-out run it is up to a quarter longer."`
	PongTimeout      time.Duration `yaml:"pong_timeout" default:"10s" range:"1s..10m" zero:"no limit" doc:"How long a ping may stay unanswered; then the session is closed with 4000."`
	IdleRead         time.Duration `yaml:"idle_read" range:"1s..24h" zero:"off" doc:"Longest time without input from the client; then it is closed with 4001."`
	IdleWrite        time.Duration `yaml:"idle_write" range:"1s..24h" zero:"off" doc:"Longest time without output to the client; then it is closed with 4002."`
	Idle             time.Duration `yaml:"idle" range:"1s..24h" zero:"off" doc:"Longest time without input or output; then the client is closed with 4003."`
	Lifetime         time.Duration `yaml:"lifetime" range:"1m..8760h" zero:"off" doc:"How old a session becomes; then it is closed with 1001, unless it is in the middle of a message, and its client is told to reconnect. So the clients of a tier move to new nodes smoothly."`
	LifetimeSpread   time.Duration `yaml:"lifetime_spread" range:"1s..8760h" zero:"none" doc:"How much earlier or later than session.lifetime a session may be closed, by its id; less than session.lifetime, without which it does nothing. Without a spread sessions that opened together are closed together."`
	ClosingBytes     Size          `yaml:"closing_bytes" default:"16KiB" range:"1KiB..64MiB" doc:"Bytes that a client may send between the server's close frame and its own; what follows is discarded."`
	HalfClosed       Size          `yaml:"half_closed_bytes" default:"1MiB" range:"1KiB..64MiB" doc:"Bytes that are read and discarded from a connection that has its last answer; what follows is not read."`
	CloseTimeout     time.Duration `yaml:"close_timeout" default:"5s" range:"1s..5m" doc:"How long the server waits for the client's answer to a close frame."`
}

// Backlog is the section backlog.
type Backlog struct {
	Frames    int           `yaml:"frames" default:"256" range:"1..65535" doc:"Most frames that wait for one connection."`
	Bytes     Size          `yaml:"bytes" default:"1MiB" range:"1KiB..1GiB" doc:"Most bytes that wait for one connection."`
	NodeBytes Size          `yaml:"node_bytes" range:"1MiB..1TiB" zero:"a share of memory" doc:"Most bytes that wait for all connections of this node together."`
	Timeout   time.Duration `yaml:"timeout" default:"30s" range:"1s..1h" zero:"no limit" doc:"How long a client may read nothing while messages wait for it; then it is closed with 4004."`
	Policy    string        `yaml:"policy" default:"disconnect" enum:"disconnect|drop-oldest|latest-only" doc:"What happens beyond a limit: disconnect closes with 4004, drop-oldest drops the oldest waiting frames, latest-only keeps only the latest frame of each key."`
}

// Fanout is the section fanout.
type Fanout struct {
	Chunk        time.Duration `yaml:"chunk" default:"300us" range:"50us..10ms" doc:"How long a shard writes to connections before it serves other work."`
	IOURing      string        `yaml:"io_uring" default:"auto" enum:"auto|off" doc:"Write to many sockets with one system call (Linux 6.1 or newer): auto uses it where the kernel allows it; off does not."`
	Mailbox      int           `yaml:"mailbox" default:"4096" range:"64..1048576" doc:"Messages that may wait for one shard; a push that finds the queue full gets 503."`
	MaxSpreads   int           `yaml:"max_spreads" default:"16" range:"1..1024" doc:"Messages with ?spread= that this node may be sending at once; further ones get 503. One of another node is lost and counted."`
	MailboxBytes Size          `yaml:"mailbox_bytes" range:"1MiB..1TiB" zero:"a share of memory" doc:"Bytes of messages that may wait for the shards of this node; a push that finds no room gets 503."`
}

// API is the section api.
type API struct {
	Listen           string        `yaml:"listen" flag:"api" default:"127.0.0.1:8081" doc:"Address of the HTTP API, host:port; any but a loopback address needs a key."`
	MonitorListen    string        `yaml:"monitor_listen" zero:"the API's address" doc:"Separate address for /healthz, /readyz and /metrics, which need no key."`
	Keys             []Secret      `yaml:"keys" zero:"no key needed, on loopback only" doc:"Keys that backends send as bearer tokens, each at least 16 characters; name:KEY gives a key a name for metrics and logs, 1 to 32 of a-z 0-9 - _ . and used only once."`
	KeysFile         string        `yaml:"keys_file" zero:"none" doc:"File with further keys, one per line, with or without a name; empty lines and lines that begin with # are ignored."`
	AllowedHosts     []string      `yaml:"allowed_hosts" zero:"loopback names and the address itself" doc:"Additional Host headers (host or host:port) accepted while the API has no key. This keeps web pages from reaching the API under a name of their own."`
	MaxPayload       Size          `yaml:"max_payload" default:"64KiB" range:"1..8MiB" doc:"Largest payload of a push; a larger one gets 413."`
	MaxBatchLines    int           `yaml:"max_batch_lines" default:"10000" range:"1..10000000" doc:"Most lines of one batch; the lines after that get 413."`
	MaxRequests      int           `yaml:"max_requests" default:"2048" range:"1..1048576" doc:"Requests under /v1/ and batch lines served at the same time (bodies still arriving are not counted); further ones get 503. Half of them may wait for one busy shard (api.push_wait), three quarters for all shards. Lowered to api.max_connections."`
	MaxBodies        int           `yaml:"max_bodies" default:"1024" range:"1..1048576" doc:"Request bodies arriving at the same time, at most half of them batches; further ones get 503. A body that arrives in one packet with its head is not counted. Lowered to half of api.max_connections."`
	BodyBytes        Size          `yaml:"body_bytes" default:"64MiB" range:"1MiB..64GiB" doc:"Bytes of arriving request bodies that the node holds; further bodies get 503."`
	MaxConnections   int           `yaml:"max_connections" default:"8192" range:"1..1048576" doc:"Open connections at each API address, plus 64 for health and metrics only. Beyond it a new connection replaces one that was answered, or else the one that has been idle longest; an address (IPv6: a /64) that has half of them replaces its own. If all are being served, the new one gets 503. Lowered if the limit of open files requires it."`
	MaxHead          Size          `yaml:"max_head" default:"16KiB" range:"1KiB..1MiB" doc:"Largest request line and headers; longer ones get 431."`
	HeadTimeout      time.Duration `yaml:"head_timeout" default:"5s" range:"1s..10m" doc:"Time for a whole request head to arrive."`
	ReadTimeout      time.Duration `yaml:"read_timeout" default:"30s" range:"1s..10m" doc:"Time for a whole request to arrive, except batches; then 408."`
	WriteTimeout     time.Duration `yaml:"write_timeout" default:"30s" range:"1s..10m" doc:"Time to send a whole answer, or one write of a batch's answers."`
	IdleTimeout      time.Duration `yaml:"idle_timeout" default:"2m" range:"1s..1h" doc:"How long a kept-alive connection may wait for its next request."`
	PushWait         time.Duration `yaml:"push_wait" default:"1s" range:"1ms..10s" doc:"Under load a push to a user or session waits up to this long in a fair queue, then gets 503. At most half of api.write_timeout."`
	MaxWaits         int           `yaml:"max_waits" default:"1024" range:"1..65536" doc:"Pushes with ?wait= whose reports may be awaited at once, lines of batches included; further ones get 503, and nothing is delivered."`
	NodesWait        time.Duration `yaml:"nodes_wait" default:"2s" range:"1ms..10s" doc:"How long a request that ends, changes or reads sessions waits for the answers of other nodes; then its own answer names those that did not answer (of a change with 202). At most half of api.write_timeout."`
	BatchIdleTimeout time.Duration `yaml:"batch_idle_timeout" default:"1m" range:"1s..1h" doc:"Time for each line of a batch to arrive completely; then the last answer is 408."`

	Idempotency Idempotency `yaml:"idempotency" doc:"Idempotency-Keys, with which a push that is sent again is delivered once."`
	TLS         APITLS      `yaml:"tls" doc:"HTTPS for the API."`
}

// Idempotency is the section api.idempotency.
type Idempotency struct {
	Window   time.Duration `yaml:"window" default:"10m" range:"1m..24h" doc:"How long an Idempotency-Key is remembered, in memory only. The same on all nodes. For as long after a node came or went all nodes are asked about each key."`
	MaxKeys  int           `yaml:"max_keys" default:"131072" range:"1..16777216" doc:"Idempotency-Keys that this node remembers: those of its own requests and those that it keeps for other nodes. Beyond it the oldest are forgotten earlier; if all are of requests in progress, further requests with a key get 503."`
	MaxBytes Size          `yaml:"max_bytes" default:"64MiB" range:"64KiB..64GiB" doc:"Bytes of these keys and of the answers to their requests; beyond it the same happens. A key takes about 330 bytes with the answer of a push that does not wait."`
}

// NATS is the section nats.
type NATS struct {
	URL              []string      `yaml:"url" flag:"nats-url" redact:"url" zero:"a server embedded in this process" doc:"Servers of an external NATS cluster, nats:// or tls://."`
	Listen           string        `yaml:"listen" flag:"nats-listen" zero:"no port" doc:"Address where the embedded server accepts NATS clients; beyond loopback only with nats.user, nats.token or nats.tls.ca."`
	ClusterListen    string        `yaml:"cluster_listen" flag:"nats-cluster-listen" zero:"no port" doc:"Address where the embedded server accepts routes from other nodes."`
	ClusterAdvertise string        `yaml:"cluster_advertise" zero:"nats.cluster_listen" doc:"host:port where other nodes reach nats.cluster_listen, if it differs (NAT, containers)."`
	ClusterName      string        `yaml:"cluster_name" default:"belfry" doc:"Cluster name; the same at all embedded servers that are joined by routes."`
	Routes           []string      `yaml:"routes" flag:"nats-routes" redact:"url" zero:"none" doc:"Routes to other nodes' nats.cluster_listen, host:port or nats://host:port."`
	Creds            string        `yaml:"creds" zero:"none" doc:"Credentials file for an external NATS."`
	User             string        `yaml:"user" zero:"none" doc:"User name for an external NATS, or the one that clients of nats.listen must present."`
	Password         Secret        `yaml:"password" zero:"none" doc:"Password that belongs to nats.user."`
	Token            Secret        `yaml:"token" zero:"none" doc:"Token for an external NATS, or the one that clients of nats.listen must present."`
	ClusterUser      string        `yaml:"cluster_user" zero:"none" doc:"User name that routes of other nodes must present at nats.cluster_listen, and that this node presents to them if nats.routes name none; required beyond loopback."`
	ClusterPass      Secret        `yaml:"cluster_password" zero:"none" doc:"Password that belongs to nats.cluster_user."`
	OutboxMessages   int           `yaml:"outbox_messages" default:"16384" range:"1..16777216" doc:"Messages that wait while NATS is not connected; when full, pushes get 503."`
	OutboxBytes      Size          `yaml:"outbox_bytes" range:"256KiB..64GiB" zero:"a share of memory" doc:"Bytes of messages that wait while NATS is not connected; when full, pushes get 503."`
	PendingBytes     Size          `yaml:"pending_bytes" range:"256KiB..64GiB" zero:"a share of memory" doc:"Bytes from NATS that may wait for this node's shards; more are lost and counted."`
	Linger           time.Duration `yaml:"linger" default:"5s" range:"1s..1h" zero:"unsubscribed at once" doc:"How long a subscription is kept to a topic is kept after its last local subscriber left."`
	Beacon           time.Duration `yaml:"beacon" default:"1s" range:"100ms..1m" doc:"Time between beacons; with them other nodes notice that they missed messages."`
	OverloadWait     time.Duration `yaml:"overload_wait" default:"200ms" range:"1ms..1m" doc:"How long a message from NATS waits for a place in this node's mailboxes before it is lost and counted."`
	MaxLingering     int           `yaml:"max_lingering" default:"4096" range:"1..1048576" doc:"Topics without a local subscriber that stay subscribed for nats.linger; beyond it the oldest are unsubscribed at once."`
	Required         bool          `yaml:"required" doc:"Answer 503 at /readyz when NATS is lost. By default the node stays ready for its own clients and reports degraded. A node that never connected to NATS is not ready in either case."`

	TLS TLS `yaml:"tls" doc:"Certificates for connections to an external NATS and between embedded servers."`
}

// TLS is the section nats.tls.
type TLS struct {
	CA   string `yaml:"ca" zero:"the system's" doc:"File with the CA certificates that must have signed the other side's certificate."`
	Cert string `yaml:"cert" zero:"none" doc:"File with this node's certificate."`
	Key  string `yaml:"key" zero:"none" doc:"File with the key of nats.tls.cert."`
}

// Shutdown is the section shutdown.
type Shutdown struct {
	Delay           time.Duration `yaml:"delay" default:"5s" range:"1s..10m" zero:"none" dev:"0" doc:"How long the node keeps serving after SIGTERM while /readyz answers 503, so that load balancers notice first."`
	Grace           time.Duration `yaml:"grace" default:"20s" range:"1s..1h" doc:"Time from the end of shutdown.delay to exit, even if connections are still open."`
	Pace            int           `yaml:"pace" default:"20000" range:"1..10000000" doc:"Sessions closed per second at shutdown, so that clients do not reconnect all at once."`
	ReconnectAfter  time.Duration `yaml:"reconnect_after" default:"1s" range:"1ms..1h" zero:"at once" doc:"Earliest time at which belfry.v1 clients are told to reconnect."`
	ReconnectJitter time.Duration `yaml:"reconnect_jitter" default:"10s" range:"1ms..1h" zero:"none" doc:"Largest random delay added to shutdown.reconnect_after; less if shutdown.pace closes all sessions sooner."`
}

// Log is the section log.
type Log struct {
	Level       string `yaml:"level" flag:"log-level" default:"info" enum:"debug|info|warn|error" doc:"Least severe level that is logged."`
	Format      string `yaml:"format" default:"auto" enum:"auto|console|json" doc:"Form of a line; auto is console on a terminal and JSON elsewhere."`
	SampleFirst int    `yaml:"sample_first" default:"20" range:"1..1000000" zero:"no sampling" doc:"Lines with the same message and level logged per second before sampling starts."`
	SampleEvery int    `yaml:"sample_every" default:"1000" range:"1..1000000" zero:"none of them" doc:"Beyond log.sample_first, every n-th line is logged."`
	Buffer      Size   `yaml:"buffer" default:"1MiB" range:"64KiB..1GiB" doc:"Bytes of log lines that wait while standard error is not read; further lines are dropped and counted, and the log reports how many."`
}
