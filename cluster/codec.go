package cluster

import (
	"encoding/binary"
	"errors"

	"belfry/message"
)

// What a holder tells a keeper is a head and items, one after the other. All numbers
// are big-endian. docs/cluster.md specifies them.
//
//	head   format (1 byte, 1) · length and bytes of the holder's instance · number of the body (8)
//	open   'o' · length and bytes of the uid · key (18) · since (6, ms) · length and bytes of the class ·
//	       length and bytes of the route
//	close  'c' · length and bytes of the uid · key (18)
//	reset  'r' · bucket (2): the holder has nothing in it, but for what follows
//	expect 'e' · length and bytes of the uid: a session is about to open
//	check  'd' · bucket (2) · sessions (4) · sum of their digests (8): what the holder has in it
//
// The answer has 3 bytes for each bucket that the keeper wants something of:
//
//	'm' · bucket (2): it differs, send all of it
//	'l' · bucket (2): this node is not the keeper, as far as it knows; send it again later
const (
	format = 1

	itemOpen   = 'o'
	itemClose  = 'c'
	itemReset  = 'r'
	itemCheck  = 'd'
	itemExpect = 'e'

	wantAll   = 'm'
	wantLater = 'l'
)

const (
	keySize   = len(message.SessionKey{})
	checkSize = 1 + 2 + 4 + 8
	maxClass  = 32 // bytes of the name of a device class
	maxRoute  = 32 // bytes of the name of a route of the gateway
)

var errBody = errors.New("the body is not valid; all nodes should run the same version")

// reader reads numbers and strings. After the end of the bytes it is bad and returns
// zeros.
type reader struct {
	p   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.p) {
		r.bad, r.p = true, nil
		return make([]byte, n)
	}
	b := r.p[:n:n]
	r.p = r.p[n:]
	return b
}

func (r *reader) u8() uint8     { return r.take(1)[0] }
func (r *reader) u16() uint16   { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32   { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64   { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) u48() uint64   { return uint64(r.u16())<<32 | uint64(r.u32()) }
func (r *reader) bytes() []byte { return r.take(int(r.u8())) }
func (r *reader) key() (k message.SessionKey) {
	copy(k[:], r.take(keySize))
	return k
}

// appendBytes appends a length of one byte, and p.
func appendBytes[T string | []byte](dst []byte, p T) []byte {
	return append(append(dst, byte(len(p))), p...)
}

func appendHead(dst []byte, instance string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(appendBytes(append(dst, format), instance), number)
}

func (r *reader) head() (instance string, number uint64) {
	if r.u8() != format {
		r.bad = true
	}
	return string(r.bytes()), r.u64()
}

func appendOpen(dst []byte, uid []byte, key *message.SessionKey, since uint64, class, route string) []byte {
	dst = append(appendBytes(append(dst, itemOpen), uid), key[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(since>>32))
	dst = binary.BigEndian.AppendUint32(dst, uint32(since))
	return appendBytes(appendBytes(dst, class), route)
}

func appendClose(dst []byte, uid []byte, key *message.SessionKey) []byte {
	return append(appendBytes(append(dst, itemClose), uid), key[:]...)
}

func appendExpect(dst []byte, uid string) []byte { return appendBytes(append(dst, itemExpect), uid) }

// appendBucket appends a reset, or a want.
func appendBucket(dst []byte, op byte, bucket uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, op), bucket)
}

func appendCheck(dst []byte, bucket uint16, l list) []byte {
	dst = binary.BigEndian.AppendUint32(appendBucket(dst, itemCheck, bucket), l.count)
	return binary.BigEndian.AppendUint64(dst, l.sum)
}

// item is one item of a body. uid, class and route are parts of it.
type item struct {
	op     byte
	uid    []byte
	key    message.SessionKey
	since  uint64 // Unix time in milliseconds
	class  []byte
	route  []byte
	bucket uint16 // of every item
	count  uint32
	sum    uint64
}

// item reads the next item.
func (r *reader) item() (it item) {
	switch it.op = r.u8(); it.op {
	case itemOpen:
		it.uid, it.key, it.since, it.class, it.route = r.bytes(), r.key(), r.u48(), r.bytes(), r.bytes()
	case itemClose:
		it.uid, it.key = r.bytes(), r.key()
	case itemExpect:
		it.uid = r.bytes()
	case itemReset:
		it.bucket = r.u16()
	case itemCheck:
		it.bucket, it.count, it.sum = r.u16(), r.u32(), r.u64()
	default:
		r.bad = true
	}
	if it.uid != nil {
		it.bucket = bucketOf(it.uid)
	}
	r.bad = r.bad || it.bucket >= Buckets || (it.op == itemOpen || it.op == itemClose || it.op == itemExpect) && len(it.uid) == 0 || len(it.class) > maxClass || len(it.route) > maxRoute
	return it
}

// whole returns how many bytes of p are whole items that fit into most bytes. p has
// whole items only.
func whole(p []byte, most int) int {
	r := reader{p: p}
	n := 0
	for len(r.p) > 0 && !r.bad {
		r.item()
		if end := len(p) - len(r.p); end <= most {
			n = end
			continue
		}
		break
	}
	return n
}

// buckets is a set of buckets.
type buckets [Buckets / 64]uint64

func (s *buckets) has(b uint16) bool { return s[b>>6]>>(b&63)&1 != 0 }
func (s *buckets) add(b uint16)      { s[b>>6] |= 1 << (b & 63) }
func (s *buckets) del(b uint16)      { s[b>>6] &^= 1 << (b & 63) }
func (s *buckets) empty() bool       { return *s == buckets{} }

// all returns the members of the set in ascending order.
func (s *buckets) all(yield func(uint16) bool) {
	for b := range uint16(Buckets) {
		if b&63 == 0 && s[b>>6] == 0 {
			continue
		}
		if s.has(b) && !yield(b) {
			return
		}
	}
}

func (s *buckets) addAll(other *buckets) {
	for i, w := range other {
		s[i] |= w
	}
}
