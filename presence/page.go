package presence

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"belfry/broadcast"
)

// answerRoom is how many bytes of items an answer has at most: the rest of a control
// message is for what surrounds them. A session has at most about 36 KB.
const answerRoom = broadcast.MaxControlBody - 8<<10

// encode returns v as JSON. Unlike json.Marshal it leaves <, > and & as they are: in a
// uid they would take six bytes each.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// fit returns as many of the first items as fit into an answer, at least one.
func fit[T any](list []T, more bool) ([]T, bool, error) {
	room := answerRoom
	for i := range list {
		p, err := encode(&list[i])
		if err != nil {
			return nil, false, err
		}
		if room -= len(p); room < 0 && i > 0 {
			return list[:i], true, nil
		}
	}
	return list, more, nil
}

// part is a node's part of a page.
type part[T any] struct {
	items []T
	more  bool // there may be others behind the last one
}

// merge returns the first items of all parts, in the order of compare. What is behind
// the end of an incomplete part is left for the next page. add, which may be nil, adds an
// item to an equal one.
func merge[T any](parts []part[T], limit int, compare func(a, b *T) int, add func(to *T, from *T)) (list []T, more bool) {
	var all []*T  // pointers, because items are large
	var border *T // the first end of an incomplete part
	for _, p := range parts {
		for i := range p.items {
			all = append(all, &p.items[i])
		}
		if p.more && len(p.items) > 0 {
			more = true
			if last := &p.items[len(p.items)-1]; border == nil || compare(last, border) < 0 {
				border = last
			}
		}
	}
	slices.SortStableFunc(all, compare)
	for _, item := range all {
		switch n := len(list); {
		case add != nil && n > 0 && compare(&list[n-1], item) == 0:
			add(&list[n-1], item)
		case border != nil && compare(item, border) > 0, n == limit:
			return list, true
		default:
			list = append(list, *item)
		}
	}
	return list, more
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
