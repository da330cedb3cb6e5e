package main

import (
	"runtime"
	"strconv"
	"time"

	"belfry/broadcast"
	"belfry/metrics"
	"belfry/poller"
	"belfry/push"
	"belfry/session"
	"belfry/wire/websocket"
)

// values returns every metric.
func (n *belfry) values() metrics.Values {
	st, bus := n.sessions.Stats(), n.bus.Stats()
	var v metrics.Values
	v.Build.Info = map[[2]string]uint64{{buildVersion(), runtime.Version()}: 1}
	v.Log = metrics.Log{Lost: n.lines.lost.Load(), Failed: n.lines.failed.Load()}
	// Limits whose counters are not in the map of limits.
	st.Limits["nats.max_lingering"] += bus.LeftEarly
	st.Limits["max_connections"] += st.Poller.AcceptRefused // a shard without a free record
	st.Limits["log.buffer"] += v.Log.Lost
	v.Drain = n.drainValues()
	v.Auth = n.authValues(st.Limits)
	v.Webhooks = n.hookValues(st.Limits)
	v.TLS = n.tlsValues(st.Limits)
	v.Sessions = sessionValues(&st, n.cfg.MaxConnections)
	v.Traffic = trafficValues(&st)
	v.Deflate = deflateValues(n.deflate)
	v.Shards = shardValues(&st.Poller, n.cfg.Shards, n.memory.Bytes())
	v.Bus = busValues(&bus)
	v.Cluster = n.clusterValues(st.Limits)
	n.eventValues(&v.Cluster, st.Limits)
	v.Routes = n.routeValues(&bus.Routes)
	v.HTTP = httpValues(n.api.Stats())
	v.JoinLeave = n.joinLeaveValues(st.Limits)
	v.Reports = n.reportValues(st.Limits)
	v.Idempotency = n.keyValues(st.Limits)
	v.Reload = n.reload.values()
	v.Gateway = n.gatewayValues(st.Limits)
	v.Handover = n.restart.values()
	return v
}

// deflateValues returns the counters of d; d is nil if compression is off.
func deflateValues(d *websocket.Deflate) metrics.Deflate {
	var st websocket.DeflateStats
	if d != nil {
		st = d.Stats()
	}
	return metrics.Deflate{
		Messages: map[string]uint64{"out": st.Compressed, "in": st.Inflated},
		Saved:    st.Saved,
		Inflated: st.Received,
		Buffers:  uint64(max(st.Buffers, 0)),
		Seconds:  map[string]float64{"out": st.CompressTime.Seconds(), "in": st.InflateTime.Seconds()},
	}
}

func sessionValues(st *session.Stats, limit int) metrics.Sessions {
	return metrics.Sessions{
		Connections:   uint64(st.Poller.Connections),
		Limit:         uint64(limit),
		Upgrading:     uint64(max(st.Pending, 0)),
		Waiting:       uint64(max(st.Waiting, 0)),
		WaitingBytes:  uint64(max(st.WaitingBytes, 0)),
		HalfOpened:    st.HalfOpened,
		Paused:        st.Paused,
		Unreadable:    st.UnreadableForwarded,
		BadGrants:     st.BadGrants,
		UnfitUIDs:     st.UnfitUIDs,
		Open:          uint64(max(st.Sessions, 0)),
		Users:         uint64(st.Users),
		Topics:        uint64(st.Topics),
		Subscriptions: uint64(st.Subscriptions),
		Accepted:      st.Poller.Accepted + st.Poller.Adopted, // those of TLS are adopted
		AcceptErrors:  st.Poller.AcceptErrors,
		Upgrades:      st.Upgrades,
		Protocols:     st.Protocols,
		Closed:        st.Closed,
		Moves:         st.Poller.MovedIn,
		MovesDeferred: st.Poller.MovesDeferred,
		Pings:         st.PingsOut,
		Pongs:         st.PongsIn,
		LimitsHit:     st.Limits,
	}
}

func trafficValues(st *session.Stats) metrics.Traffic {
	return metrics.Traffic{
		Messages:        st.MessagesIn,
		MessageBytes:    st.BytesIn,
		InboundBytes:    uint64(max(st.Poller.InboundBytes, 0)),
		Dropped:         st.Unwanted,
		Commands:        st.Commands,
		CommandErrors:   st.CommandErrors,
		Pushes:          st.Pushes,
		Deliveries:      st.Deliveries,
		DeliveredBytes:  st.Poller.WrittenBytes,
		Undelivered:     map[string]uint64{"drop-oldest": st.Poller.DroppedOldest, "latest-only": st.Poller.DroppedLatest, "ttl": st.Poller.DroppedExpired},
		FanoutRuns:      st.FanoutRuns,
		Coalesced:       st.Coalesced,
		Spreading:       uint64(max(st.Spreading, 0)),
		SpreadLost:      st.SpreadLost,
		Expired:         st.Expired,
		Backlogged:      uint64(st.Poller.Backlogged),
		BacklogBytes:    uint64(max(st.Poller.BacklogBytes, 0)),
		Slow:            st.Poller.ShortWrites,
		Overflows:       map[string]uint64{"connection": st.Poller.Overflows, "node": st.Poller.NodeOverflows},
		PushLatency:     histogram(&st.PushLatency),
		FanoutLatency:   histogram(&st.FanoutLatency),
		ControlsDropped: st.Poller.ControlsDropped,
	}
}

func shardValues(st *poller.Stats, shards int, offheap map[string]int64) metrics.Shards {
	v := metrics.Shards{
		Number:      uint64(shards),
		IOURing:     uint64(st.Rings),
		TickAge:     map[string]float64{},
		Busy:        map[string]float64{},
		Stalls:      st.Stalls,
		Behind:      st.BehindTicks,
		Panics:      st.Panics,
		MailboxFull: st.MailboxFull,
		Offheap:     map[string]uint64{},
	}
	for owner, bytes := range offheap {
		v.Offheap[owner] = uint64(max(bytes, 0))
	}
	for i, age := range st.TickAges {
		v.TickAge[strconv.Itoa(i)] = age
		v.Busy[strconv.Itoa(i)] = st.BusySeconds[i]
	}
	return v
}

func busValues(bus *broadcast.Stats) metrics.Bus {
	return metrics.Bus{
		Connected:     oneIf(bus.Connected),
		Reconnects:    bus.Reconnects,
		Peers:         uint64(max(bus.Peers, 0)),
		Unheard:       uint64(len(bus.Unheard)),
		Subscriptions: uint64(bus.Subscriptions),
		Topics:        uint64(bus.Topics),
		Buckets:       uint64(bus.Buckets),
		Lingering:     uint64(bus.Lingering),
		Published:     bus.Published,
		Sent:          bus.Sent,
		Received:      bus.Received,
		Delivered:     bus.Delivered,
		Refused:       map[string]uint64{"outbox": bus.RefusedOutbox, "mailbox": bus.RefusedLocal, "nats": bus.RefusedNATS},
		Lost: map[string]uint64{
			"unconfirmed": bus.LostUnconfirmed, "too_large": bus.LostTooLarge, "shutdown": bus.LostShutdown,
			"receive": bus.LostReceive, "overload": bus.LostOverload,
			"fault": bus.LostFault, "expired": bus.LostExpired,
		},
		Gaps:           bus.Gaps,
		Faults:         bus.Faults,
		Malformed:      bus.Malformed,
		Duplicates:     bus.Duplicates,
		Denied:         bus.Denied,
		DuplicateNodes: bus.DuplicateNodes,
		ControlSent:    bus.ControlSent,
		ControlIn:      bus.ControlReceived,
		ControlDropped: map[string]uint64{"queue": bus.ControlDropped, "unknown": bus.ControlUnknown, "late": bus.ControlLate},
		ControlTimeout: bus.ControlTimeouts,
		OutboxMessages: uint64(bus.OutboxMessages),
		OutboxBytes:    uint64(bus.OutboxBytes),
	}
}

// oneIf returns 1 for true and 0 for false.
func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func httpValues(api push.Stats) metrics.HTTP {
	v := metrics.HTTP{
		Requests:           map[[2]string]uint64{},
		Rejected:           map[string]uint64{},
		BatchLines:         api.Lines,
		BatchLinesRejected: map[string]uint64{},
		PayloadBytes:       api.PayloadBytes,
		Waited:             api.Waited,
		WaitRefused:        api.WaitRefused,
		Duration:           map[string]metrics.Histogram{},
		KeyRequests:        map[string]uint64{},
		KeyPushes:          map[string]uint64{},
		Bodies:             uint64(max(api.Bodies, 0)),
		BodyBytes:          uint64(max(api.BodyBytes, 0)),
		ConnectionsEvicted: api.ConnectionsEvicted,
		InFlight:           uint64(api.InFlight),
		Connections:        uint64(api.Connections),
		BodiesCut:          api.BodiesCut,
		ConnectionsRefused: api.ConnectionsRefused,
		HandshakesFailed:   api.HandshakesFailed,
	}
	for _, r := range api.Requests {
		v.Requests[[2]string{r.Route, strconv.Itoa(r.Status)}] = r.Count
	}
	for _, d := range api.Durations {
		h := metrics.Histogram{Count: d.Count, Sum: d.Sum.Seconds(), Buckets: map[float64]uint64{}}
		seen := uint64(0)
		for i, bound := range push.DurationBounds {
			seen += d.Counts[i]
			h.Buckets[bound.Seconds()] = seen
		}
		v.Duration[d.Route] = h
	}
	for _, k := range api.Keys {
		v.KeyRequests[k.Key], v.KeyPushes[k.Key] = k.Requests, k.Pushes
	}
	for _, c := range api.Rejected {
		v.Rejected[c.Cause.String()] = c.Count
	}
	for _, c := range api.LinesRejected {
		v.BatchLinesRejected[c.Cause.String()] = c.Count
	}
	return v
}

// Bounds of the histogram of latencies: 20, each twice the one before. Each is
// also a bound of session.Latency.
const (
	firstLatency = 16 * time.Microsecond
	lastLatency  = firstLatency << 19 // 8.4 s
)

// histogram converts l, which has four times as many bounds over a wider range.
func histogram(l *session.Latency) metrics.Histogram {
	h := metrics.Histogram{Count: l.Count, Sum: l.Sum.Seconds(), Buckets: map[float64]uint64{}}
	bound, seen := firstLatency, uint64(0)
	for i, upper := range l.Bounds {
		for bound < upper && bound <= lastLatency {
			h.Buckets[bound.Seconds()] = seen
			bound *= 2
		}
		seen += l.Counts[i]
	}
	return h
}

// overview is the answer of GET /v1/stats.
type overview struct {
	Node    string  `json:"node"`
	Version string  `json:"version"`
	Uptime  float64 `json:"uptime_seconds"`
	Shards  int     `json:"shards"`

	Connections    int   `json:"connections"`
	MaxConnections int   `json:"max_connections"`
	Sessions       int64 `json:"sessions"`
	Users          int64 `json:"users"`
	Topics         int64 `json:"topics"`
	Subscriptions  int64 `json:"subscriptions"`

	Accepted     uint64            `json:"accepted"`
	Closed       map[string]uint64 `json:"closed"`
	Deliveries   uint64            `json:"deliveries"`
	FanoutRuns   uint64            `json:"fanout_passes"`
	Coalesced    uint64            `json:"fanout_coalesced"`
	Backlogged   int               `json:"backlog_connections"`
	BacklogBytes int64             `json:"backlog_bytes"`

	Push latencyView `json:"push_latency"`
	Bus  busView     `json:"bus"`
}

// latencyView has the times that single pushes took on this node, from the
// arrival of the HTTP request to the send, in microseconds.
type latencyView struct {
	Count uint64 `json:"count"`
	P50   int64  `json:"p50_us"`
	P99   int64  `json:"p99_us"`
	P999  int64  `json:"p999_us"`
}

type busView struct {
	Connected      bool     `json:"connected"`
	Peers          int      `json:"peers"`
	PeerNames      []string `json:"peer_names"`
	Unheard        []string `json:"peers_unheard"` // nodes whose beacons others receive and this node does not
	Published      uint64   `json:"published"`
	Received       uint64   `json:"received"`
	Gaps           uint64   `json:"gaps"`
	OutboxMessages int      `json:"outbox_messages"`
	Subscriptions  int      `json:"subscriptions"`
}

func (n *belfry) stats() any {
	st, bus := n.sessions.Stats(), n.bus.Stats()
	closed := map[string]uint64{}
	for reason, count := range st.Closed {
		if count > 0 {
			closed[reason] = count
		}
	}
	return overview{
		Node:    n.bus.Name(),
		Version: buildVersion(),
		Uptime:  time.Since(n.started).Seconds(),
		Shards:  n.cfg.Shards,

		Connections:    st.Poller.Connections,
		MaxConnections: n.cfg.MaxConnections,
		Sessions:       st.Sessions,
		Users:          st.Users,
		Topics:         st.Topics,
		Subscriptions:  st.Subscriptions,

		Accepted:     st.Poller.Accepted,
		Closed:       closed,
		Deliveries:   st.Deliveries,
		FanoutRuns:   st.FanoutRuns,
		Coalesced:    st.Coalesced,
		Backlogged:   st.Poller.Backlogged,
		BacklogBytes: st.Poller.BacklogBytes,

		Push: viewLatency(&st.PushLatency),
		Bus:  viewBus(&bus),
	}
}

func viewBus(bus *broadcast.Stats) busView {
	return busView{
		Connected: bus.Connected, Peers: bus.Peers, PeerNames: orEmpty(bus.PeerNames), Unheard: orEmpty(bus.Unheard), Published: bus.Published, Received: bus.Received,
		Gaps: bus.Gaps, OutboxMessages: bus.OutboxMessages, Subscriptions: bus.Subscriptions,
	}
}

// orEmpty returns a list that is [] in JSON even if it is nil.
func orEmpty(names []string) []string { return append([]string{}, names...) }

func viewLatency(l *session.Latency) latencyView {
	us := func(q float64) int64 { return l.Quantile(q).Microseconds() }
	return latencyView{Count: l.Count, P50: us(0.5), P99: us(0.99), P999: us(0.999)}
}
