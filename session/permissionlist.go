package session

import "github.com/minio/highwayhash"

// intern stores a list of permissions, or finds the equal one that is stored
// already, and counts a session of it. It returns 0 for an empty list.
func (g *grants) intern(subscribe, publish []string) (list uint32, err error) {
	if len(subscribe)+len(publish) == 0 {
		return 0, nil
	}
	g.text = appendPatterns(g.text[:0], subscribe)
	border := uint16(len(g.text))
	g.text = appendPatterns(g.text, publish)
	return g.internList(border)
}

// internText is intern for the text of permissions.
func (g *grants) internText(subscribe, publish []byte) (list uint32, err error) {
	if len(subscribe)+len(publish) == 0 {
		return 0, nil
	}
	g.text = append(append(g.text[:0], subscribe...), publish...)
	return g.internList(uint16(len(subscribe)))
}

// internList stores the list in g.text.
func (g *grants) internList(border uint16) (list uint32, err error) {
	hash := uint32(highwayhash.Sum64(g.text, g.opt.Key[:])) + uint32(border)
	for p := g.table.Probe(hash); p.Next(); {
		at := g.lists.At(p.Val())
		if at.publish == border && string(g.blobs.get(at.text)) == string(g.text) {
			at.refs++
			return p.Val() + 1, nil
		}
	}
	text, err := g.blobs.put(g.text)
	if err != nil {
		return 0, err
	}
	slot, ok := g.lists.Alloc()
	if !ok {
		g.blobs.free(text)
		return 0, errNoRoom
	}
	if err := g.table.Insert(hash, slot); err != nil {
		g.blobs.free(text)
		g.lists.Free(slot)
		return 0, err
	}
	*g.lists.At(slot) = permissions{text: text, hash: hash, refs: 1, publish: border}
	return slot + 1, nil
}

func appendPatterns(dst []byte, patterns []string) []byte {
	for _, p := range patterns {
		dst = append(append(dst, byte(len(p))), p...)
	}
	return dst
}

// unref counts a session less of a list of permissions, and frees it after the last.
func (g *grants) unref(list uint32) {
	if list == 0 {
		return
	}
	at := g.lists.At(list - 1)
	if at.refs--; at.refs > 0 {
		return
	}
	g.table.Delete(at.hash, list-1)
	g.blobs.free(at.text)
	g.lists.Free(list - 1)
}
