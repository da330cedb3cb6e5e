package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"belfry/poller"
)

// The state of a session on its way to another process (docs/handover.md). A batch is
// the version of the format, the clock and the generation of the shard, and then the
// sessions: each is its length and its fields. A field is a key, which is its number
// and whether bytes follow, and a number or the length of the bytes. Fields that are 0
// or empty are left out. Fields of later versions are kept, and go along when the
// session is handed over again.

// handedFormat is the version of the format of a batch.
const handedFormat = 1

// Fields of a session. Numbers are never used again for something else.
const (
	fieldID        = iota + 1 // slot and generation
	fieldState                // handedState
	fieldMarks                // handedMarks
	fieldVariant              // index in the variants that the processes agreed on
	fieldUID                  // bytes
	fieldTopic                // bytes: a permit, then the name; repeated, the oldest first
	fieldOpened               // Unix seconds
	fieldPinged               // age in ticks of the last ping, + 1
	fieldRead                 // age in ticks
	fieldWritten              // age in ticks
	fieldTimer                // ticks until it is due, + 1
	fieldUnread               // bytes
	fieldUnsent               // bytes
	fieldSubscribe            // bytes: patterns, as in permissions
	fieldPublish              // bytes
	fieldMeta                 // bytes
	fieldIssued               // Unix seconds
	fieldExpires              // Unix seconds
	fieldClass                // bytes: the device class
	fieldLimits               // bytes: the numbers of sessionLimits
	fieldRemote               // bytes: the client's address as text
	fieldKept                 // bytes: what Events.Match has kept
	fieldRoute                // bytes: the name of the route
	fieldAgent                // bytes
	fieldLasted               // milliseconds since Events.Opened, + 1
	fieldInbound              // bytes: see ws.Inbound.AppendState
	fieldTokens               // bytes: the numbers of a bucket
	fieldsEnd
)

// handedState says what a connection was.
type handedState uint8

const (
	handedOpen  handedState = iota // a session
	handedHead                     // the request is not complete
	handedProxy                    // a PROXY header has to come before the request
)

// handedMarks are what a connection is besides.
type handedMarks uint32

const (
	markEcho handedMarks = 1 << iota
	markPinged
	markCloseWrite
	markAdopted
	markLarge
	markCounted // the client's address counts in a limit
)

// handed is a connection on its way.
type handed struct {
	conn  poller.Handed
	state handedState
	marks handedMarks

	variant            uint8
	uid                []byte
	topics             []joinedTopic
	openedAt           uint32
	pinged             uint32 // age in ticks, + 1; 0: never
	issued, expires    uint32
	subscribe, publish []byte
	meta               []byte
	class              string
	limits             *sessionLimits
	remote             netip.AddrPort
	kept               []byte
	route, agent       string
	lasted             uint64 // ms, + 1; 0: Events was not told
	inbound            []byte
	tokens             []int64
	unknown            []byte // fields of a later version, as they came
}

func appendNumber(dst []byte, field int, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field)<<1), v)
}

func appendField(dst []byte, field int, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field)<<1|1), uint64(len(p)))
	return append(dst, p...)
}

// append appends the fields of a connection.
func (h *handed) append(dst []byte) []byte {
	c := &h.conn
	timer := uint64(0)
	if c.Timed {
		timer = uint64(max(int32(c.Timer-c.Ticks), 0)) + 1
	}
	dst = appendNumber(dst, fieldID, uint64(c.ID))
	dst = appendNumber(dst, fieldState, uint64(h.state))
	dst = appendNumber(dst, fieldMarks, uint64(h.marks))
	dst = appendNumber(dst, fieldVariant, uint64(h.variant))
	dst = appendField(dst, fieldUID, h.uid)
	for _, t := range h.topics {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, fieldTopic<<1|1), uint64(len(t.name)+1))
		dst = append(append(dst, byte(t.by)), t.name...)
	}
	dst = appendNumber(dst, fieldOpened, uint64(h.openedAt))
	dst = appendNumber(dst, fieldPinged, uint64(h.pinged))
	dst = appendNumber(dst, fieldRead, uint64(c.Ticks-c.LastRead))
	dst = appendNumber(dst, fieldWritten, uint64(c.Ticks-c.LastWrite))
	dst = appendNumber(dst, fieldTimer, timer)
	dst = appendField(dst, fieldUnread, c.Unread)
	dst = appendField(dst, fieldUnsent, c.Unsent)
	dst = appendField(dst, fieldSubscribe, h.subscribe)
	dst = appendField(dst, fieldPublish, h.publish)
	dst = appendField(dst, fieldMeta, h.meta)
	dst = appendNumber(dst, fieldIssued, uint64(h.issued))
	dst = appendNumber(dst, fieldExpires, uint64(h.expires))
	dst = appendField(dst, fieldClass, []byte(h.class))
	if l := h.limits; l != nil {
		dst = appendField(dst, fieldLimits, appendInts(nil, int64(l.ping), int64(l.idle), int64(l.idleRead), int64(l.idleWrite), int64(l.messages), int64(l.topics)))
	}
	if h.remote.IsValid() {
		dst = appendField(dst, fieldRemote, []byte(h.remote.String()))
	}
	dst = appendField(dst, fieldKept, h.kept)
	dst = appendField(dst, fieldRoute, []byte(h.route))
	dst = appendField(dst, fieldAgent, []byte(h.agent))
	dst = appendNumber(dst, fieldLasted, h.lasted)
	dst = appendField(dst, fieldInbound, h.inbound)
	dst = appendField(dst, fieldTokens, appendInts(nil, h.tokens...))
	return append(dst, h.unknown...)
}

func appendInts(dst []byte, v ...int64) []byte {
	for _, n := range v {
		dst = binary.AppendVarint(dst, n)
	}
	return dst
}

func parseInts(p []byte) (v []int64, err error) {
	for len(p) > 0 {
		x, n := binary.Varint(p)
		if n <= 0 {
			return nil, errHanded
		}
		v, p = append(v, x), p[n:]
	}
	return v, nil
}

var errHanded = errors.New("session: the state of a session cannot be read")

// batchHead is what a batch says of its shard.
type batchHead struct {
	ticks, generation uint32
}

func (b batchHead) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, handedFormat)
	dst = binary.AppendUvarint(dst, uint64(b.ticks))
	return binary.AppendUvarint(dst, uint64(b.generation))
}

func parseBatchHead(p []byte) (b batchHead, rest []byte, err error) {
	var v [3]uint64
	for i := range v {
		x, n := binary.Uvarint(p)
		if n <= 0 {
			return b, nil, errHanded
		}
		v[i], p = x, p[n:]
	}
	if v[0] != handedFormat {
		return b, nil, fmt.Errorf("session: a batch of format %d; this version knows %d", v[0], handedFormat)
	}
	return batchHead{uint32(v[1]), uint32(v[2])}, p, nil
}

// nextHanded returns the fields of the next session in a batch.
func nextHanded(p []byte) (fields, rest []byte, err error) {
	size, n := binary.Uvarint(p)
	if n <= 0 || size > uint64(len(p)-n) {
		return nil, nil, errHanded
	}
	return p[n : n+int(size)], p[n+int(size):], nil
}

// parse reads the fields of a connection whose shard's clock was at ticks. Its slices
// are parts of p.
func (h *handed) parse(p []byte, ticks uint32) error {
	*h = handed{}
	h.conn.Ticks, h.conn.LastRead, h.conn.LastWrite = ticks, ticks, ticks
	for len(p) > 0 {
		start := p
		key, n := binary.Uvarint(p)
		if n <= 0 {
			return errHanded
		}
		p = p[n:]
		v, n := binary.Uvarint(p)
		if n <= 0 {
			return errHanded
		}
		p = p[n:]
		field := int(min(key>>1, fieldsEnd))
		var bytes []byte
		if key&1 != 0 {
			if v > uint64(len(p)) {
				return errHanded
			}
			bytes, p = p[:v:v], p[v:]
		}
		var err error
		switch {
		case field >= fieldsEnd:
			h.unknown = append(h.unknown, start[:len(start)-len(p)]...)
		case key&1 != 0:
			err = h.setBytes(field, bytes)
		default:
			h.setNumber(field, v)
		}
		if err != nil {
			return err
		}
	}
	if h.conn.ID == 0 {
		return errHanded
	}
	return nil
}

func (h *handed) setNumber(field int, v uint64) {
	c := &h.conn
	switch field {
	case fieldID:
		c.ID = poller.ID(v)
	case fieldState:
		h.state = handedState(v)
	case fieldMarks:
		h.marks = handedMarks(v)
		c.CloseWrite, c.Adopted, c.Large = h.marks&markCloseWrite != 0, h.marks&markAdopted != 0, h.marks&markLarge != 0
	case fieldVariant:
		h.variant = uint8(v)
	case fieldOpened:
		h.openedAt = uint32(v)
	case fieldPinged:
		h.pinged = uint32(v)
	case fieldRead:
		c.LastRead = c.Ticks - uint32(v)
	case fieldWritten:
		c.LastWrite = c.Ticks - uint32(v)
	case fieldTimer:
		c.Timed, c.Timer = v > 0, c.Ticks+uint32(v-1)
	case fieldIssued:
		h.issued = uint32(v)
	case fieldExpires:
		h.expires = uint32(v)
	case fieldLasted:
		h.lasted = v
	}
}

func (h *handed) setBytes(field int, p []byte) (err error) {
	switch field {
	case fieldUID:
		h.uid = p
	case fieldTopic:
		if len(p) < 2 || permit(p[0]) > permitGranted {
			return errHanded
		}
		h.topics = append(h.topics, joinedTopic{string(p[1:]), permit(p[0])})
	case fieldUnread:
		h.conn.Unread = p
	case fieldUnsent:
		h.conn.Unsent = p
	case fieldSubscribe:
		h.subscribe = p
	case fieldPublish:
		h.publish = p
	case fieldMeta:
		h.meta = p
	case fieldClass:
		h.class = string(p)
	case fieldLimits:
		v, err := parseInts(p)
		if err != nil || len(v) < 6 {
			return errHanded
		}
		h.limits = &sessionLimits{uint32(v[0]), uint32(v[1]), uint32(v[2]), uint32(v[3]), uint32(v[4]), uint16(v[5])}
	case fieldRemote:
		h.remote, err = netip.ParseAddrPort(string(p))
	case fieldKept:
		h.kept = p
	case fieldRoute:
		h.route = string(p)
	case fieldAgent:
		h.agent = string(p)
	case fieldInbound:
		h.inbound = p
	case fieldTokens:
		h.tokens, err = parseInts(p)
	}
	return err
}
