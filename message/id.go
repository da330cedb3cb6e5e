package message

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/minio/highwayhash"
)

// A session id is base64url without padding. It encodes the shard (2 bytes), the
// node (4), the slot (4), the generation (4) and a keyed hash over these (8).
// So a session is found by its id without a map, and an id cannot be forged.
// The shard comes first because its number is small: then no id begins with a
// hyphen, which a command line would take for a flag.
const (
	idBytes = 22
	idLen   = 30
)

var idEncoding = base64.RawURLEncoding.Strict()

// SID is a decoded session id.
type SID struct {
	Node  uint32 // id of the node
	Shard uint16 // number of the shard in the node
	Conn  uint64 // the connection in the shard: its slot in the lower 32 bits, the generation above
}

func (n SID) bytes() (b [idBytes]byte) {
	binary.BigEndian.PutUint16(b[0:], n.Shard)
	binary.BigEndian.PutUint32(b[2:], n.Node)
	binary.BigEndian.PutUint32(b[6:], uint32(n.Conn))
	binary.BigEndian.PutUint32(b[10:], uint32(n.Conn>>32))
	return b
}

// Format returns the session id of n with a hash that is keyed with key.
func (n SID) Format(key *[32]byte) string {
	b := n.bytes()
	binary.BigEndian.PutUint64(b[14:], highwayhash.Sum64(b[:14], key[:]))
	return idEncoding.EncodeToString(b[:])
}

func decodeID(sid string) (n SID, mac uint64, err error) {
	var b [idBytes]byte
	if len(sid) != idLen {
		return n, 0, &FieldError{"session", fmt.Sprintf("%d characters long; a session id has %d", len(sid), idLen)}
	}
	// The decoder skips line breaks, so the decoded length is checked too.
	if k, err := idEncoding.Decode(b[:], []byte(sid)); err != nil || k != idBytes {
		return n, 0, &FieldError{"session", "not a session id: characters other than A-Z a-z 0-9 - _"}
	}
	n.Shard = binary.BigEndian.Uint16(b[0:])
	n.Node = binary.BigEndian.Uint32(b[2:])
	n.Conn = uint64(binary.BigEndian.Uint32(b[10:]))<<32 | uint64(binary.BigEndian.Uint32(b[6:]))
	return n, binary.BigEndian.Uint64(b[14:]), nil
}

// ParseSID decodes sid. ok is false if sid was not made with key.
func ParseSID(sid string, key *[32]byte) (n SID, ok bool) {
	n, mac, err := decodeID(sid)
	if err != nil {
		return SID{}, false
	}
	b := n.bytes()
	return n, highwayhash.Sum64(b[:14], key[:]) == mac
}

// DecodeSID decodes sid, or returns a *FieldError if it does not have the form of a
// session id. It does not verify the hash.
func DecodeSID(sid string) (SID, error) {
	n, _, err := decodeID(sid)
	return n, err
}

// Compare orders ids by node, shard and slot. In this order lists of sessions are
// paged: an id is a place in a list also after its session has ended.
func (n SID) Compare(other SID) int {
	return cmp.Or(cmp.Compare(n.Node, other.Node), cmp.Compare(n.Shard, other.Shard), cmp.Compare(uint32(n.Conn), uint32(other.Conn)))
}

// SessionKey is a session id without its node, as bytes: half as long as the id.
type SessionKey [idBytes - 4]byte

// SplitSID takes a session id apart, or returns a *FieldError if sid does not have the
// form of one. It does not verify the hash.
func SplitSID(sid string) (node uint32, k SessionKey, err error) {
	n, mac, err := decodeID(sid)
	if err != nil {
		return 0, k, err
	}
	b := n.bytes()
	binary.BigEndian.PutUint64(b[14:], mac)
	copy(k[:2], b[:2])
	copy(k[2:], b[6:])
	return n.Node, k, nil
}

// SID is the reverse of SplitSID.
func (k SessionKey) SID(node uint32) string {
	var b [idBytes]byte
	copy(b[:2], k[:2])
	binary.BigEndian.PutUint32(b[2:], node)
	copy(b[6:], k[2:])
	return idEncoding.EncodeToString(b[:])
}

// Key returns the session id of n, made with key, without its node.
func (n SID) Key(key *[32]byte) (k SessionKey) {
	b := n.bytes()
	copy(k[:2], b[:2])
	copy(k[2:10], b[6:14])
	binary.BigEndian.PutUint64(k[10:], highwayhash.Sum64(b[:14], key[:]))
	return k
}

// CheckSID returns a *FieldError unless sid has the form of a session id. It
// does not verify the hash.
func CheckSID(sid string) error {
	_, _, err := decodeID(sid)
	return err
}

// NodeOf returns the id of the node that made a session id, or a *FieldError if
// sid does not have the form of one. It does not verify the hash.
func NodeOf(sid string) (node uint32, err error) {
	n, _, err := decodeID(sid)
	return n.Node, err
}
