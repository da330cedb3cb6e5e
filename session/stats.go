package session

import (
	"slices"
	"strconv"
	"sync/atomic"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// Limits that a client or an operator can reach. Their hits are counted.
const (
	limitPending = iota
	limitWaiting
	limitPerAddress
	limitAddressRate
	limitSessions
	limitUpgradeTime
	limitTopics
	limitPerUser
	limitPerClass
	limitMessage
	limitFragments
	limitFrames
	limitBytes
	limitNodeBacklog
	limitPubs
	limitMemory
	limitDeciding
	limitAsking
	limitMessageRate
	limitByteRate
	limitCommandRate
	limitUserMessageRate
	limitUserByteRate
	limitBacklogTime
	limitMailbox
	limitInbound
	limitMessageTime
	limitClosing
	limitHalfClosed
	limitConnectRate
	limitWaitingBytes
	limitCredentials
	limitKept
	limitAgents
	limitLastSeen
	limitAcks
	limitClasses
	limitSpreads
	limitCount
)

// limitNames are the labels of the metric: the name of the setting. A test of
// cmd/belfry compares them with the settings.
var limitNames = [limitCount]string{
	limitPending:         "upgrade.max_pending",
	limitWaiting:         "upgrade.max_waiting",
	limitPerAddress:      "upgrade.max_per_address",
	limitAddressRate:     "upgrade.rate_per_address",
	limitSessions:        "max_connections",
	limitUpgradeTime:     "upgrade.timeout",
	limitTopics:          "session.max_topics",
	limitPerUser:         "session.max_per_user",
	limitPerClass:        "session.max_per_user_class",
	limitMessage:         "session.max_message",
	limitFragments:       "session.max_fragments",
	limitFrames:          "backlog.frames",
	limitBytes:           "backlog.bytes",
	limitNodeBacklog:     "backlog.node_bytes",
	limitPubs:            "session.publish_queue",
	limitMemory:          "memory", // of a shard's tables: no setting
	limitDeciding:        "session.max_deciding",
	limitAsking:          "session.max_presence",
	limitMessageRate:     "session.message_rate",
	limitByteRate:        "session.byte_rate",
	limitCommandRate:     "session.command_rate",
	limitUserMessageRate: "session.user_message_rate",
	limitUserByteRate:    "session.user_byte_rate",
	limitBacklogTime:     "backlog.timeout",
	limitSpreads:         "fanout.max_spreads",
	limitMailbox:         "fanout.mailbox_bytes",
	limitInbound:         "session.inbound_bytes",
	limitMessageTime:     "session.message_timeout",
	limitClosing:         "session.closing_bytes",
	limitHalfClosed:      "session.half_closed_bytes",
	limitConnectRate:     "upgrade.rate",
	limitWaitingBytes:    "upgrade.waiting_bytes",
	limitCredentials:     "auth.max_token",
	limitKept:            "kept",   // MaxKept: no setting
	limitAgents:          "agents", // maxAgents: no setting
	limitLastSeen:        "session.last_seen_users",
	limitAcks:            "session.max_acks",
	limitClasses:         "device_classes", // maxDeviceClasses: no setting
}

// counters are what a shard counts. Only the shard writes them; any goroutine may
// read.
type counters struct {
	upgraded      [statusCount][causeCount]atomic.Uint64
	closed        [reasonCount]atomic.Uint64
	shed          [reasonCount]atomic.Uint64 // of them, by orders to shed; counted when they are told
	limits        [limitCount]atomic.Uint64
	commands      [opCount]atomic.Uint64
	commandErrors [errorCount]atomic.Uint64
	framesIn      atomic.Uint64
	messagesIn    atomic.Uint64
	bytesIn       atomic.Uint64
	unwanted      atomic.Uint64
	pings, pongs  atomic.Uint64 // received
	pingsOut      atomic.Uint64
	deliveries    atomic.Uint64
	fanoutRuns    atomic.Uint64
	coalesced     atomic.Uint64
	spreadLost    atomic.Uint64 // sessions that spread messages had not come to when the shard stopped

	expired       atomic.Uint64 // messages that died before the shard came to them
	slow          atomic.Uint64
	unreadable    atomic.Uint64 // headers of trusted proxies that could not be parsed
	badGrants     atomic.Uint64
	unfitUIDs     atomic.Uint64 // topics refused to users whose id cannot stand for {uid}
	halfOpened    atomic.Uint64 // connections whose request was not complete at once
	paused        atomic.Uint64 // pauses of sessions by Events.Received
	users, topics atomic.Int64
	links         atomic.Int64
}

// opCount is one more than the last Op.
const opCount = wire.OpPresence + 1

var opNames = [opCount]string{"", "sub", "unsub", "pub", "ping", "login", "auth", "send", "rpc", "ack", "presence"}

// Codes of command errors. Any other code counts as the last one.
var errorCodes = [...]string{"bad_request", "forbidden", "refused", "too_many_topics", "too_large", "rate_limited", "undecided", "unavailable"}

const errorCount = len(errorCodes)

// commandError counts an error that a command was answered with.
func (c *counters) commandError(code string) {
	for i, known := range errorCodes {
		if known == code || i == errorCount-1 {
			c.commandErrors[i].Add(1)
			return
		}
	}
}

// Statuses with which upgrades are answered; 0 stands for any other.
var upgradeStatuses = [...]int{101, 200, 400, 401, 403, 404, 405, 408, 413, 414, 426, 429, 431, 500, 503, 505, 0}

const (
	statusCount = len(upgradeStatuses)
	statusOther = statusCount - 1
)

// answered counts an upgrade by the index of its status.
func (c *counters) answered(outcome, cause int) { c.upgraded[outcome][cause].Add(1) }

// accepted counts a request by the status of the answer that accepts it.
func (c *counters) accepted(answer []byte) {
	outcome := statusOther
	if len(answer) >= len("HTTP/1.1 101") {
		if status, err := strconv.Atoi(string(answer[9:12])); err == nil && slices.Contains(upgradeStatuses[:], status) {
			outcome = slices.Index(upgradeStatuses[:], status)
		}
	}
	c.answered(outcome, causeNone)
}

// refused counts a request by the status and the cause of its refusal.
func (c *counters) refused(r *ws.Refusal) {
	outcome := slices.Index(upgradeStatuses[:], r.Status)
	if outcome < 0 {
		outcome = statusOther
	}
	c.answered(outcome, causeOf(r))
}

// limit counts a hit of one of the limits.
func (c *counters) limit(which int) { c.limits[which].Add(1) }

// Stats is a snapshot of a Server. The counters count from New.
type Stats struct {
	Poller poller.Stats

	Sessions, Pending, Users, Topics, Subscriptions int64
	Waiting                                         int64                // connections whose complete request waits for its answer
	WaitingBytes                                    int64                // of requests and credentials that authenticators have not decided about
	Upgrades                                        map[[2]string]uint64 // by status and cause
	Protocols                                       map[[2]string]uint64 // sessions, by the names of transport and encoding
	Closed                                          map[string]uint64    // by reason
	Limits                                          map[string]uint64    // hits, by limit
	Commands                                        map[string]uint64    // by op
	Pushes                                          map[string]uint64    // delivered on this node, by scope

	CommandErrors map[string]uint64 // by code

	FramesIn, MessagesIn, BytesIn, Unwanted uint64
	PingsIn, PongsIn, PingsOut              uint64
	Deliveries, FanoutRuns, Coalesced, Slow uint64
	Spreading                               int64  // now: messages that are being spread
	SpreadLost                              uint64 // sessions that spread messages had not come to when the shards stopped
	Expired                                 uint64 // messages that died before a shard came to them, once for each shard
	UnreadableForwarded, BadGrants          uint64
	UnfitUIDs                               uint64 // topics refused to users whose id cannot stand for {uid} in a pattern
	HalfOpened                              uint64
	Paused                                  uint64 // pauses of sessions whose backend was behind

	PushLatency   Latency // of pushes to users and sessions, from arrival to send
	FanoutLatency Latency // of pushes to topics and all, from arrival to the last send of a shard
}

// Stats sums up all shards. Any goroutine.
func (s *Server) Stats() Stats {
	st := Stats{
		Poller:   s.loop.Stats(),
		Sessions: s.sessions.Load(), Spreading: s.spreading.Load(), Pending: s.pending.Load(), Waiting: s.waiting.Load(), WaitingBytes: s.waitingBytes.Load(),
		Upgrades: map[[2]string]uint64{}, Closed: map[string]uint64{}, Limits: map[string]uint64{},
		Commands: map[string]uint64{}, CommandErrors: map[string]uint64{}, Pushes: map[string]uint64{},
	}
	st.Protocols = map[[2]string]uint64{}
	for i, v := range s.protocols.variants {
		st.Protocols[[2]string{v.Transport.Name(), v.Encoding.Name()}] += uint64(max(s.perVariant[i].Load(), 0))
	}
	st.Poller.Panics += s.faults.Load()
	for i := range s.pushes {
		st.Pushes[message.Scope(i).String()] = s.pushes[i].Load()
	}
	for i, n := range limitNames {
		st.Limits[n] += s.early[i].Load()
	}
	for _, h := range s.shards {
		h.counters.addTo(&st)
		h.latencies.single.addTo(&st.PushLatency)
		h.latencies.many.addTo(&st.FanoutLatency)
	}
	return st
}

// addTo adds the counters of one shard.
func (c *counters) addTo(st *Stats) {
	c.addUpgrades(st.Upgrades)
	for _, r := range Reasons() {
		st.Closed[r.String()] += c.closed[r].Load()
	}
	for i, n := range limitNames {
		st.Limits[n] += c.limits[i].Load()
	}
	for op := wire.OpSub; op < opCount; op++ {
		st.Commands[opNames[op]] += c.commands[op].Load()
	}
	for i, code := range errorCodes {
		st.CommandErrors[code] += c.commandErrors[i].Load()
	}
	st.Subscriptions += c.links.Load()
	st.FramesIn += c.framesIn.Load()
	st.MessagesIn += c.messagesIn.Load()
	st.BytesIn += c.bytesIn.Load()
	st.Unwanted += c.unwanted.Load()
	st.PingsIn += c.pings.Load()
	st.PongsIn += c.pongs.Load()
	st.PingsOut += c.pingsOut.Load()
	st.Deliveries += c.deliveries.Load()
	st.FanoutRuns += c.fanoutRuns.Load()
	st.Coalesced += c.coalesced.Load()
	st.Expired += c.expired.Load()
	st.SpreadLost += c.spreadLost.Load()
	st.Slow += c.slow.Load()
	st.UnreadableForwarded += c.unreadable.Load()
	st.BadGrants += c.badGrants.Load()
	st.UnfitUIDs += c.unfitUIDs.Load()
	st.HalfOpened += c.halfOpened.Load()
	st.Paused += c.paused.Load()
	st.Users += c.users.Load()
	st.Topics += c.topics.Load()
}

// addUpgrades adds the answers to upgrades. Each cause has an entry with its usual
// status even if that is 0.
func (c *counters) addUpgrades(upgrades map[[2]string]uint64) {
	for i, status := range upgradeStatuses {
		label := strconv.Itoa(status)
		if status == 0 {
			label = "other"
		}
		for cause := range c.upgraded[i] {
			n := c.upgraded[i][cause].Load()
			if n > 0 || causes[cause].status == status {
				upgrades[[2]string{label, string(causes[cause].cause)}] += n
			}
		}
	}
}
