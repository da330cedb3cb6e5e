package broadcast

import (
	"fmt"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Besides its beacons each node publishes a list of the nodes whose beacons it
// receives, on belfry.ctl.peers, as often as an idle node publishes beacons. So a
// node learns of nodes whose beacons only others receive. NATS servers that are
// joined by routes forward messages over one hop only. Without these lists, two
// servers that cannot connect to each other would lose every message between
// them, and no gap would show it.

// maxListed is the largest number of peers in one list.
const maxListed = 1024

// joinTime is the time after its start in which a node is not ready if it learns
// of peers whose beacons it does not receive. After that time a new peer of this
// kind makes the node degraded: the other node is then the one that is joining.
const joinTime = time.Minute

// roster has the nodes that this node knows. A node is heard if this node
// receives its beacons. Owned by the receiver's goroutine, except view.
type roster struct {
	self    uint32
	beacon  time.Duration // interval of beacons
	started time.Time
	log     *zap.Logger
	up      func(Peer) // called when a node joined, restarted or is back; may be nil
	nodes   map[uint32]*peer
	count   *atomic.Int64 // nodes that are present

	view atomic.Pointer[rosterView] // any goroutine
}

// rosterView is a snapshot of the roster. It never changes.
type rosterView struct {
	present []Peer    // sorted by name
	unheard []unheard // sorted by name
	lost    time.Time // when the node was last heard that was lost last; zero for none
}

// unheard is a node whose beacons other nodes receive and this node does not.
type unheard struct {
	name  string
	by    string // name of a node that receives its beacons
	never bool   // this node has not received a beacon of it since its own start
}

func (u unheard) String() string {
	return fmt.Sprintf("bus: %s receives beacons of node %s and this node does not: check that the nats.cluster_listen of each "+
		"can be reached from the other (nats.cluster_advertise, nats.routes, firewalls)", u.by, u.name)
}

// peer is a node that this node knows.
type peer struct {
	name          string
	instance      string
	present       bool
	left          bool      // it said so: it was not lost
	heard         time.Time // when its last beacon came; zero for none
	reported      time.Time // when it was last in another node's list
	reportedSince time.Time // since when it has been in others' lists without being heard
	reportedBy    string    // name of the node with the last of these lists
}

func newRoster(self uint32, beacon time.Duration, start time.Time, log *zap.Logger, count *atomic.Int64) *roster {
	r := &roster{self: self, beacon: beacon, started: start, log: log, nodes: make(map[uint32]*peer), count: count}
	r.view.Store(&rosterView{})
	return r
}

// timeout is the time without a beacon after which a node is lost: two intervals
// of idle beacons, and a margin.
func (r *roster) timeout() time.Duration {
	return time.Duration(2*idleBeacons(r.count.Load())+2) * r.beacon
}

// reportLife is how long a report in another node's list is valid: until the next
// list is due, and a margin. It is shorter than timeout: otherwise nodes that
// notice the end of a node late would report it to nodes that noticed it before.
func (r *roster) reportLife() time.Duration {
	return time.Duration(3*idleBeacons(r.count.Load())/2+2) * r.beacon
}

// node returns the peer with this id and adds it if it is new. It returns nil if
// there are too many peers.
func (r *roster) node(id uint32, name string) *peer {
	p := r.nodes[id]
	if p == nil {
		if len(r.nodes) >= maxPeers {
			return nil
		}
		p = &peer{name: strings.Clone(name)} // the name is part of a whole list
		r.nodes[id] = p
	}
	return p
}

// onBeacon records a beacon.
func (r *roster) onBeacon(b *beacon, now time.Time) {
	p := r.node(b.node, b.name)
	if p == nil {
		return
	}
	if b.status.Presence == Left {
		r.onLeft(b, p, now)
		return
	}
	event := ""
	switch {
	case p.present && p.instance != b.instance:
		event = "peer restarted"
	case p.present:
	case p.heard.IsZero():
		event = "peer joined"
	default:
		event = "peer is back"
	}
	silent := now.Sub(p.heard)
	p.name, p.instance, p.heard, p.present, p.left = b.name, b.instance, now, true, false
	p.reported = time.Time{}
	if event == "" {
		return
	}
	r.publish(now)
	fields := []zap.Field{zap.String("peer", p.name), zap.String("id", nodeString(b.node)), zap.Int64("peers", r.count.Load())}
	if event == "peer is back" {
		fields = append(fields, zap.Duration("silent", silent))
	}
	r.log.Info(event, fields...)
	if r.up != nil {
		r.up(Peer{b.node, b.name})
	}
}

// onLeft records the last beacon of a node. One of an earlier process of the node
// says nothing of the present one.
func (r *roster) onLeft(b *beacon, p *peer, now time.Time) {
	if !p.present || p.instance != b.instance {
		return
	}
	p.present, p.left, p.heard = false, true, now
	r.publish(now)
	r.log.Info("peer left", zap.String("peer", p.name), zap.String("id", nodeString(b.node)), zap.Int64("peers", r.count.Load()))
}

// onPeerList records which nodes another node hears.
func (r *roster) onPeerList(l *peerList, now time.Time) {
	for _, n := range l.peers {
		if n.ID == r.self {
			continue
		}
		p := r.node(n.ID, n.Name)
		if p == nil || p.present {
			continue
		}
		if now.Sub(p.reported) > r.reportLife() {
			p.reportedSince = now
		}
		p.reported, p.reportedBy = now, strings.Clone(l.name)
	}
}

// sweep marks nodes as lost and forgets nodes that were lost long ago.
func (r *roster) sweep(now time.Time) {
	renew := len(r.view.Load().unheard) > 0
	for id, p := range r.nodes {
		if p.present && now.Sub(p.heard) >= r.timeout() {
			p.present = false
			r.publish(now)
			r.log.Warn("peer lost: no beacon received", zap.String("peer", p.name), zap.String("id", nodeString(id)),
				zap.Duration("silent", now.Sub(p.heard)), zap.Int64("peers", r.count.Load()))
		}
		if !p.present && now.Sub(p.heard) > peerForget && now.Sub(p.reported) > peerForget {
			delete(r.nodes, id)
		}
		renew = renew || !p.present && !p.reported.IsZero() // whether it is unheard is a matter of time
	}
	if renew {
		r.publish(now)
	}
}

// peerForget is how long a lost node is remembered. If it comes back within that
// time, the log says that it is back, and not that it joined.
const peerForget = time.Hour

// publish renews the view.
func (r *roster) publish(now time.Time) {
	v := &rosterView{}
	for id, p := range r.nodes {
		if !p.present && !p.left && p.heard.After(v.lost) {
			v.lost = p.heard
		}
		switch {
		case p.present:
			v.present = append(v.present, Peer{id, p.name})
		case !p.reported.IsZero() && now.Sub(p.reported) <= r.reportLife() && now.Sub(p.reportedSince) >= r.timeout():
			joining := p.reportedSince.Sub(r.started) < max(joinTime, 6*r.timeout())
			v.unheard = append(v.unheard, unheard{p.name, p.reportedBy, p.heard.IsZero() && joining})
		}
	}
	sort.Slice(v.present, func(i, j int) bool { return v.present[i].Name < v.present[j].Name })
	sort.Slice(v.unheard, func(i, j int) bool { return v.unheard[i].name < v.unheard[j].name })
	r.count.Store(int64(len(v.present)))
	r.view.Store(v)
}

// peerList is one message on belfry.ctl.peers.
type peerList struct {
	node  uint32
	name  string
	peers []Peer
}

func (l *peerList) append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "belfry 1 %s %s\n", nodeString(l.node), l.name)
	for _, p := range l.peers[:min(len(l.peers), maxListed)] {
		dst = fmt.Appendf(dst, "%s %s\n", nodeString(p.ID), p.Name)
	}
	return dst
}

// parsePeers reads a list. The names in it are parts of one string.
func parsePeers(p []byte) (*peerList, error) {
	first, rest, _ := strings.Cut(string(p), "\n")
	f := strings.Split(first, " ")
	l := &peerList{}
	var ok bool
	if len(f) != 4 || f[0] != "belfry" || f[1] != "1" {
		return nil, bad("peers", "the first line is not: belfry 1 node name")
	}
	if l.node, ok = parseNode(f[2]); !ok || !nodeName(f[3]) {
		return nil, bad("peers", "invalid node id or name")
	}
	l.name = f[3]
	l.peers = make([]Peer, 0, min(strings.Count(rest, "\n")+1, maxListed))
	for line := ""; rest != ""; {
		line, rest, _ = strings.Cut(rest, "\n")
		id, name, _ := strings.Cut(line, " ")
		n := Peer{Name: name}
		if n.ID, ok = parseNode(id); !ok || !nodeName(name) || len(l.peers) >= maxListed {
			return nil, bad("peers", fmt.Sprintf("a line is not: node name; or there are more than %d", maxListed))
		}
		l.peers = append(l.peers, n)
	}
	return l, nil
}

// nodeName reports whether name is valid as the name of a node.
func nodeName(name string) bool { return 0 < len(name) && len(name) <= 64 && printable(name) }
