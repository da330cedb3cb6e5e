package message

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/minio/highwayhash"
)

// A session id is, in base64url without padding: shard (2 bytes), node (4),
// slot (4), generation (4) and 8 bytes of keyed hash over them. So a session is
// found by its id without any map, and an id cannot be made up. The shard comes
// first because it is small: an id never begins with a hyphen, which a command
// line would take for a flag.
const (
	idBytes = 22
	idLen   = 30
)

var idEncoding = base64.RawURLEncoding.Strict()

// SID is what a session id says.
type SID struct {
	Node  uint32 // of the cluster
	Shard uint16 // of the node
	Conn  uint64 // of the shard: the slot in the lower half, its generation in the upper
}

func (n SID) bytes() (b [idBytes]byte) {
	binary.BigEndian.PutUint16(b[0:], n.Shard)
	binary.BigEndian.PutUint32(b[2:], n.Node)
	binary.BigEndian.PutUint32(b[6:], uint32(n.Conn))
	binary.BigEndian.PutUint32(b[10:], uint32(n.Conn>>32))
	return b
}

// Format returns the session id of n, made with key.
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
	// The decoder passes over line breaks, so the length is checked too.
	if k, err := idEncoding.Decode(b[:], []byte(sid)); err != nil || k != idBytes {
		return n, 0, &FieldError{"session", "not a session id: characters other than A-Z a-z 0-9 - _"}
	}
	n.Shard = binary.BigEndian.Uint16(b[0:])
	n.Node = binary.BigEndian.Uint32(b[2:])
	n.Conn = uint64(binary.BigEndian.Uint32(b[10:]))<<32 | uint64(binary.BigEndian.Uint32(b[6:]))
	return n, binary.BigEndian.Uint64(b[14:]), nil
}

// ParseSID returns what sid says if it was made with key.
func ParseSID(sid string, key *[32]byte) (n SID, ok bool) {
	n, mac, err := decodeID(sid)
	if err != nil {
		return SID{}, false
	}
	b := n.bytes()
	return n, highwayhash.Sum64(b[:14], key[:]) == mac
}

// CheckSID returns a *FieldError unless sid has the form of a session id.
func CheckSID(sid string) error {
	_, _, err := decodeID(sid)
	return err
}

// NodeOf returns which node made a session id, or a *FieldError.
func NodeOf(sid string) (node uint32, err error) {
	n, _, err := decodeID(sid)
	return n.Node, err
}
