package broadcast

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Presence is what a node says of its own future in a beacon.
type Presence uint8

const (
	Staying Presence = iota
	Leaving          // it drains: it still has sessions, and wants no new work
	Left             // its last beacon: it has no sessions any more
)

var presenceNames = [...]string{Staying: "", Leaving: "leaving", Left: "left"}

// Status is what a node tells of itself in each beacon.
type Status struct {
	Instance string   // random, different for each process
	Version  string   // of the program: up to 64 printable ASCII characters without spaces; "" if unknown
	Load     uint64   // sessions that the node has now
	Presence Presence // whether it will stay
	Routes   bool     // it knows relays, see route.go
	Draining bool     // it closes its sessions, and stays
}

// Sighting is a beacon of another node, as far as it says something of the node.
type Sighting struct {
	Peer
	Status
}

// Headers of a beacon. They are headers, not fields of the first line, because nodes
// before them drop a beacon whose first line has more fields.
const (
	headerVersion  = "Belfry-Version"
	headerLoad     = "Belfry-Load"
	headerPresence = "Belfry-Presence" // leaving or left; absent: the node stays
	headerRoutes   = "Belfry-Routes"   // 1: the node knows relays; absent: it does not
	headerDraining = "Belfry-Draining" // 1: the node closes its sessions; absent: it does not
)

// header returns the headers of a beacon.
func (s *Status) header() nats.Header {
	h := nats.Header{headerLoad: {strconv.FormatUint(s.Load, 10)}}
	if s.Version != "" {
		h[headerVersion] = []string{s.Version}
	}
	if s.Presence != Staying {
		h[headerPresence] = []string{presenceNames[s.Presence]}
	}
	if s.Routes {
		h[headerRoutes] = []string{"1"}
	}
	if s.Draining {
		h[headerDraining] = []string{"1"}
	}
	return h
}

// readHeader fills s, but for Instance, from the headers of a beacon. Missing ones
// are those of a node that does not send them.
func (s *Status) readHeader(h nats.Header) error {
	if s.Version = h.Get(headerVersion); s.Version != "" && !nodeName(s.Version) {
		return bad(headerVersion, "allowed are up to 64 printable ASCII characters without spaces")
	}
	if load := h.Get(headerLoad); load != "" && (!parseUints([]string{load}, &s.Load) || s.Load > maxNumber) {
		return bad(headerLoad, "not a number of sessions")
	}
	s.Routes, s.Draining = h.Get(headerRoutes) == "1", h.Get(headerDraining) == "1"
	switch h.Get(headerPresence) {
	case "":
	case presenceNames[Leaving]:
		s.Presence = Leaving
	case presenceNames[Left]:
		s.Presence = Left
	default:
		return bad(headerPresence, "allowed are leaving and left")
	}
	return nil
}

// OnBeacon has f called with each beacon of another node. It is called before
// Node.Start. f runs on a goroutine of the bus and must not block.
func (c *Control) OnBeacon(f func(Sighting)) { c.onBeacon = append(c.onBeacon, f) }

// Describe has f fill in Version, Load and Draining of each beacon of this node. It is called
// before Node.Start. f runs on a goroutine of the bus and must not block.
func (c *Control) Describe(f func(*Status)) { c.describe = f }

// Status implements ControlReceiver.
func (c *Control) Status() Status {
	s := Status{Instance: *c.instance.Load(), Presence: Presence(c.presence.Load()), Routes: true}
	if c.describe != nil {
		defer c.faults.caught("status")
		c.describe(&s)
	}
	return s
}

// Heard implements ControlReceiver.
func (c *Control) Heard(s Sighting) {
	defer c.faults.caught("sighting")
	for _, f := range c.onBeacon {
		f(s)
	}
}

// Self returns what other nodes know this node by.
func (c *Control) Self() Sighting { return Sighting{c.self, c.Status()} }

// Lease returns how long a node may be silent before it is lost: longer than two
// intervals between the beacons of a node that sends nothing. It grows with the
// number of nodes.
func (c *Control) Lease() time.Duration { return c.bus.Lease() }

// Leave tells the other nodes at once, and in each later beacon, that this node
// drains. Any goroutine may call it.
func (c *Control) Leave() {
	if c.presence.CompareAndSwap(uint32(Staying), uint32(Leaving)) {
		c.bus.Beacon()
	}
}
