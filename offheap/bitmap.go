package offheap

import "math/bits"

// bitmapDepth is the largest number of levels of a bitmap: 64^5 = 2^30 slots.
const bitmapDepth = 5

// noSlot is returned by lowestFree if all slots are taken. It is larger than any
// slot.
const noSlot = uint32(1) << (6 * bitmapDepth)

// bitmap is the set of live slots of a slab. Above it are two summaries, in levels
// that are each 64 times smaller than the one below. full[l] has a bit for each
// word of the level below that is all ones, some[l] for each that is not zero. So
// finding the lowest free slot or the next live slot reads one word of each level
// (three or four in all), however many slots there are.
//
// Words past the end of a slice count as zero. So the slices grow with the highest
// slot ever used, not with the highest one allowed: a shard that may hold four
// million connections and holds ten needs memory for ten.
type bitmap struct {
	live  []uint64 // level 0: a bit a slot
	full  [bitmapDepth][]uint64
	some  [bitmapDepth][]uint64
	depth int // levels in use, at least 2; the top level is one word
}

// init makes an empty bitmap for slots 0 to max-1.
func (b *bitmap) init(max int) {
	*b = bitmap{depth: 2}
	for 1<<(6*b.depth) < max {
		b.depth++
	}
}

func (b *bitmap) has(slot uint32) bool {
	i := slot >> 6
	return i < uint32(len(b.live)) && b.live[i]>>(slot&63)&1 != 0
}

// lowestFree returns the lowest slot whose bit is clear, or noSlot.
func (b *bitmap) lowestFree() uint32 {
	i := uint32(0)
	for l := b.depth - 1; l >= 0; l-- {
		level := b.live
		if l > 0 {
			level = b.full[l]
		}
		if i >= uint32(len(level)) {
			i <<= 6
			continue
		}
		w := ^level[i]
		if w == 0 {
			return noSlot // only the top word can be full here: full words below it are skipped
		}
		i = i<<6 | uint32(bits.TrailingZeros64(w))
	}
	return i
}

// set marks a slot live, and returns whether it is the only one in its word.
func (b *bitmap) set(slot uint32) (first bool) {
	i := slot >> 6
	b.live = reach(b.live, i)
	was := b.live[i]
	now := was | 1<<(slot&63)
	b.live[i] = now
	if was == 0 {
		b.mark(&b.some, i, 0)
	}
	if now == ^uint64(0) {
		b.mark(&b.full, i, ^uint64(0))
	}
	return was == 0
}

// mark sets the bit of word i in the level above. It goes on upwards while the
// summary of the changed word changes too: in some when the word was zero (edge is
// 0), in full when the word becomes all ones (edge is all ones).
func (b *bitmap) mark(levels *[bitmapDepth][]uint64, i uint32, edge uint64) {
	for l := 1; l < b.depth; l++ {
		bit := uint64(1) << (i & 63)
		i >>= 6
		levels[l] = reach(levels[l], i)
		before := levels[l][i]
		after := before | bit
		levels[l][i] = after
		if edge == 0 && before != 0 || edge != 0 && after != edge {
			return
		}
	}
}

// clear marks a live slot free, and returns whether its word is empty now.
func (b *bitmap) clear(slot uint32) (empty bool) {
	i := slot >> 6
	was := b.live[i]
	now := was &^ (1 << (slot & 63))
	b.live[i] = now
	if was == ^uint64(0) {
		b.unmark(&b.full, i, was)
	}
	if now == 0 {
		b.unmark(&b.some, i, 0)
	}
	return now == 0
}

// unmark clears the bit of word i in the level above, and goes on upwards as mark
// does.
func (b *bitmap) unmark(levels *[bitmapDepth][]uint64, i uint32, edge uint64) {
	for l := 1; l < b.depth; l++ {
		bit := uint64(1) << (i & 63)
		i >>= 6
		before := levels[l][i]
		after := before &^ bit
		levels[l][i] = after
		if edge == 0 && after != 0 || edge != 0 && before != edge {
			return
		}
	}
}

// next returns the lowest live slot that is not below from.
func (b *bitmap) next(from uint32) (slot uint32, ok bool) {
	i := from >> 6
	if i >= uint32(len(b.live)) {
		return 0, false
	}
	if w := b.live[i] >> (from & 63); w != 0 {
		return from + uint32(bits.TrailingZeros64(w)), true
	}
	for l := 1; l < b.depth; l++ {
		i++ // the word after the one in which no slot was left
		bit := i & 63
		i >>= 6
		if i >= uint32(len(b.some[l])) {
			return 0, false
		}
		if w := b.some[l][i] >> bit << bit; w != 0 {
			i = i<<6 | uint32(bits.TrailingZeros64(w))
			for l--; l > 0; l-- {
				i = i<<6 | uint32(bits.TrailingZeros64(b.some[l][i]))
			}
			return i<<6 | uint32(bits.TrailingZeros64(b.live[i])), true
		}
	}
	return 0, false
}

// highest returns the highest live slot. ok is false if none is live.
func (b *bitmap) highest() (slot uint32, ok bool) {
	top := b.some[b.depth-1]
	if len(top) == 0 || top[0] == 0 {
		return 0, false
	}
	i := uint32(0)
	for l := b.depth - 1; l > 0; l-- {
		i = i<<6 | uint32(63-bits.LeadingZeros64(b.some[l][i]))
	}
	return i<<6 | uint32(63-bits.LeadingZeros64(b.live[i])), true
}

// empty says whether n words of level 0, from word first on, are zero. n is a power
// of two and first a multiple of it, so their bits in the summary are either in
// one word or fill whole words.
func (b *bitmap) empty(first, n uint32) bool {
	mask := ^uint64(0)
	if n < 64 {
		mask = (1<<n - 1) << (first & 63)
	}
	for i := first >> 6; i <= (first+n-1)>>6 && i < uint32(len(b.some[1])); i++ {
		if b.some[1][i]&mask != 0 {
			return false
		}
	}
	return true
}

// reach appends zeros to words until index i exists.
func reach(words []uint64, i uint32) []uint64 {
	for uint32(len(words)) <= i {
		words = append(words, 0)
	}
	return words
}
