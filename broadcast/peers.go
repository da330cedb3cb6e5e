package broadcast

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Besides its beacons each node says, as rarely as an idle one beacons, whom it
// hears, on belfry.ctl.peers. So a node learns of one that everybody hears but
// it: servers joined by routes pass messages on over one hop only, and two that
// could not connect to each other would lose everything without a gap.

// maxListed is how many peers one list names, at most.
const maxListed = 1024

// joinTime is how long after its start a node that learns of peers it cannot
// hear is the one that is not ready; later the fault is the newcomer's.
const joinTime = time.Minute

// peerName is a node and its name.
type peerName struct {
	id   uint32
	name string
}

// roster is who is there. Owned by the receiver's goroutine, except view.
type roster struct {
	self    uint32
	beacon  time.Duration // interval
	started time.Time
	log     *zap.Logger
	nodes   map[uint32]*peer
	count   *atomic.Int64 // nodes that are present

	view atomic.Pointer[rosterView] // any goroutine
}

// rosterView does not change.
type rosterView struct {
	present []peerName // by name
	unheard []unheard
}

// unheard is a node that others hear and this one does not.
type unheard struct {
	name  string
	by    string // who hears it
	never bool   // it was not heard since this node has started
}

func (u unheard) String() string {
	return fmt.Sprintf("bus: node %s is heard by %s and not by this one: see that the nats.cluster_listen of each "+
		"can be reached from the other (nats.cluster_advertise, nats.routes, firewalls)", u.name, u.by)
}

type peer struct {
	name          string
	instance      string
	present       bool
	heard         time.Time // last, zero if never
	reported      time.Time // when another node named it last
	reportedSince time.Time // since when others have named it without its being heard
	reportedBy    string
}

func newRoster(self uint32, beacon time.Duration, start time.Time, log *zap.Logger, count *atomic.Int64) *roster {
	r := &roster{self: self, beacon: beacon, started: start, log: log, nodes: make(map[uint32]*peer), count: count}
	r.view.Store(&rosterView{})
	return r
}

// timeout is how long a node that is there may not be heard: two idle beacons,
// and some to spare.
func (r *roster) timeout() time.Duration {
	return time.Duration(2*idleBeacons(r.count.Load())+2) * r.beacon
}

// reportLife is how long what a node says about others holds: until its next list
// comes, and some to spare, but not as long as silence, or those that hear of a
// node's end last would name it to those that have seen it already.
func (r *roster) reportLife() time.Duration {
	return time.Duration(3*idleBeacons(r.count.Load())/2+2) * r.beacon
}

// node returns the record of a node, nil if there are too many.
func (r *roster) node(id uint32, name string) *peer {
	p := r.nodes[id]
	if p == nil {
		if len(r.nodes) >= maxPeers {
			return nil
		}
		p = &peer{name: name}
		r.nodes[id] = p
	}
	return p
}

// onBeacon takes note of a beacon.
func (r *roster) onBeacon(b *beacon, now time.Time) {
	p := r.node(b.node, b.name)
	if p == nil {
		return
	}
	what := ""
	switch {
	case p.present && p.instance != b.instance:
		what = "peer restarted"
	case p.present:
	case p.heard.IsZero():
		what = "peer joined"
	default:
		what = "peer is back"
	}
	silent := now.Sub(p.heard)
	p.name, p.instance, p.heard, p.present = b.name, b.instance, now, true
	p.reported = time.Time{}
	if what == "" {
		return
	}
	r.publish(now)
	fields := []zap.Field{zap.String("peer", p.name), zap.String("id", nodeString(b.node)), zap.Int64("peers", r.count.Load())}
	if what == "peer is back" {
		fields = append(fields, zap.Duration("silent", silent))
	}
	r.log.Info(what, fields...)
}

// onPeerList takes note of whom another node hears.
func (r *roster) onPeerList(l *peerList, now time.Time) {
	for _, n := range l.peers {
		if n.id == r.self {
			continue
		}
		p := r.node(n.id, n.name)
		if p == nil || p.present {
			continue
		}
		if now.Sub(p.reported) > r.reportLife() {
			p.reportedSince = now
		}
		p.reported, p.reportedBy = now, l.name
	}
}

// sweep finds out who is gone.
func (r *roster) sweep(now time.Time) {
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
	}
	r.publish(now)
}

// peerForget is how long the name of a node that is gone is remembered, so that
// its return is one.
const peerForget = time.Hour

// publish makes the view anew.
func (r *roster) publish(now time.Time) {
	v := &rosterView{}
	for id, p := range r.nodes {
		switch {
		case p.present:
			v.present = append(v.present, peerName{id, p.name})
		case !p.reported.IsZero() && now.Sub(p.reported) <= r.reportLife() && now.Sub(p.reportedSince) >= r.timeout():
			joining := p.reportedSince.Sub(r.started) < max(joinTime, 6*r.timeout())
			v.unheard = append(v.unheard, unheard{p.name, p.reportedBy, p.heard.IsZero() && joining})
		}
	}
	slices.SortFunc(v.present, func(a, b peerName) int { return strings.Compare(a.name, b.name) })
	slices.SortFunc(v.unheard, func(a, b unheard) int { return strings.Compare(a.name, b.name) })
	r.count.Store(int64(len(v.present)))
	r.view.Store(v)
}

// peerList is one message on belfry.ctl.peers.
type peerList struct {
	node  uint32
	name  string
	peers []peerName
}

func (l *peerList) append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "belfry 1 %s %s\n", nodeString(l.node), l.name)
	for _, p := range l.peers[:min(len(l.peers), maxListed)] {
		dst = fmt.Appendf(dst, "%s %s\n", nodeString(p.id), p.name)
	}
	return dst
}

func parsePeers(p []byte) (*peerList, error) {
	sc := bufio.NewScanner(bytes.NewReader(p))
	sc.Scan()
	f := strings.Split(sc.Text(), " ")
	l := &peerList{}
	var ok bool
	if len(f) != 4 || f[0] != "belfry" || f[1] != "1" {
		return nil, bad("peers", "first line is not belfry 1 node name")
	}
	if l.node, ok = parseNode(f[2]); !ok || !nodeName(f[3]) {
		return nil, bad("peers", "node id or name")
	}
	l.name = f[3]
	for sc.Scan() {
		id, name, _ := strings.Cut(sc.Text(), " ")
		n := peerName{name: name}
		if n.id, ok = parseNode(id); !ok || !nodeName(name) || len(l.peers) >= maxListed {
			return nil, bad("peers", fmt.Sprintf("a line is not node name, or more than %d of them", maxListed))
		}
		l.peers = append(l.peers, n)
	}
	return l, sc.Err()
}

// nodeName says whether name can be that of a node.
func nodeName(name string) bool { return 0 < len(name) && len(name) <= 64 && printable(name) }
