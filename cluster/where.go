package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"belfry/broadcast"
)

// Holder is a node that has sessions of a user.
type Holder struct {
	broadcast.Peer
	Count    int       // sessions of the user
	Sessions []Session // the youngest first, at most MaxListed of all holders together; WhereMany returns none
}

// MaxListed limits the sessions in one answer of Where. Holder.Count counts all.
const MaxListed = 500

// IncompleteError says that what was returned with it may lack sessions, because
// nodes have not told the home yet what they have.
type IncompleteError struct {
	Silent []string // names of these nodes, sorted
}

func (e *IncompleteError) Error() string {
	return "incomplete: the user's home awaits the sessions of " + strings.Join(e.Silent, ", ")
}

// HomeError says that the home of a user did not answer.
type HomeError struct {
	Node string // its name
	Err  error
}

func (e *HomeError) Error() string {
	return "node " + e.Node + ", the home of the user: " + e.Err.Error()
}

func (e *HomeError) Unwrap() error { return e.Err }

var (
	errClosed  = errors.New("the directory is closed")
	errUnknown = errors.New("this node has not heard a beacon of the holder's process yet")
	errNotHome = errors.New("this node is not the home of the user, as far as it knows")
	errNoHome  = errors.New("cluster: no node can be a home: all of them drain")
)

// Where returns the nodes that have sessions of uid, sorted by name, none if the user
// is offline. It asks the user's home, unless that is this node. While homes move it
// asks again until ctx is done.
//
// Errors: *IncompleteError, with what is known; *HomeError; errNoHome.
func (d *Directory) Where(ctx context.Context, uid string) ([]Holder, error) {
	all, err := d.where(ctx, []string{uid}, true)
	return all[uid], err
}

// WhereMany is Where for many users, without Holder.Sessions: users that are offline
// are not in the map. It asks each home once (or more, if answers are longer than
// broadcast.MaxControlBody). With an error the map has what is known; for users whose
// home did not answer it has nothing. Several errors are joined.
func (d *Directory) WhereMany(ctx context.Context, uids []string) (map[string][]Holder, error) {
	return d.where(ctx, uids, false)
}

func (d *Directory) where(ctx context.Context, uids []string, list bool) (map[string][]Holder, error) {
	found := make(map[string][]Holder)
	byHome := make(map[uint32][]string)
	var errs []error
	homes := d.Homes()
	for _, uid := range uids {
		home, ok := homes.Home(broadcast.UserBucket(uid))
		if !ok {
			return found, errNoHome
		}
		byHome[home] = append(byHome[home], uid)
	}
	type result struct {
		found map[string][]Holder
		err   error
	}
	results := make(chan result, len(byHome))
	for home, uids := range byHome {
		go func() {
			r := result{found: make(map[string][]Holder)}
			r.err = d.ask(ctx, home, uids, list, r.found)
			results <- r
		}()
	}
	for range len(byHome) {
		r := <-results
		for uid, holders := range r.found {
			found[uid] = holders
		}
		if r.err != nil {
			errs = append(errs, r.err)
		}
	}
	return found, join(errs)
}

// join joins errors, and merges those that name silent nodes.
func join(errs []error) error {
	var silent []string
	var other []error
	for _, err := range errs {
		var incomplete *IncompleteError
		if errors.As(err, &incomplete) {
			silent = append(silent, incomplete.Silent...)
		} else {
			other = append(other, err)
		}
	}
	if len(silent) > 0 {
		slices.Sort(silent)
		other = append(other, &IncompleteError{slices.Compact(silent)})
	}
	if len(other) == 1 {
		return other[0]
	}
	return errors.Join(other...)
}

// ask asks one home about users, until all are answered.
func (d *Directory) ask(ctx context.Context, home uint32, uids []string, list bool, found map[string][]Holder) error {
	var errs []error
	for len(uids) > 0 {
		n, silent, err := d.askOnce(ctx, home, uids, list, found)
		if len(silent) > 0 {
			errs = append(errs, &IncompleteError{silent})
		}
		if uids = uids[n:]; err == nil {
			continue
		}
		var refused *broadcast.RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), errNotHome.Error()) {
			return join(append(errs, &HomeError{d.nameOf(home), err}))
		}
		// Homes are moving. Both nodes know the same members in a moment.
		select {
		case <-time.After(retryPause / 2):
		case <-ctx.Done():
			return join(append(errs, &HomeError{d.nameOf(home), err}))
		}
		var ok bool
		if home, ok = d.Homes().Home(broadcast.UserBucket(uids[0])); !ok {
			return errNoHome
		}
	}
	return join(errs)
}

// askOnce asks about as many users as fit into a question and an answer, and returns
// how many were answered.
func (d *Directory) askOnce(ctx context.Context, home uint32, uids []string, list bool, found map[string][]Holder) (n int, silent []string, err error) {
	if home == d.self.ID {
		for n < len(uids) {
			holders, missing, ok := d.here(uids[n], list)
			if !ok {
				return n, silent, &broadcast.RefusedError{Node: d.self.Name, Detail: errNotHome.Error()}
			}
			if silent = append(silent, missing...); len(holders) > 0 {
				found[uids[n]] = holders
			}
			n++
		}
		return n, silent, nil
	}
	body := appendQuestion(uids, list)
	answer, err := d.control.Ask(ctx, home, kindWhere, body)
	if err != nil {
		return 0, nil, err
	}
	return readAnswer(answer, uids, list, found)
}

func (d *Directory) nameOf(node uint32) string {
	if node == d.self.ID {
		return d.self.Name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.holders[node]; h != nil {
		return h.Name
	}
	return fmt.Sprintf("%08x", node)
}

// here answers for a user whose home this node is. ok is false if it is not.
func (d *Directory) here(uid string, list bool) (holders []Holder, silent []string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	bucket := broadcast.UserBucket(uid)
	if home, ok := d.homes.Home(bucket); !ok || home != d.self.ID || d.store == nil {
		return nil, nil, false
	}
	names := map[uint16]broadcast.Peer{0: d.self.Peer}
	for _, h := range d.holders {
		names[h.index] = h.Peer
		if !h.confirmed.has(bucket) {
			silent = append(silent, h.Name)
		}
	}
	slices.Sort(silent)
	listed := 0
	d.store.each([]byte(uid), func(e *entry) {
		p := names[e.holder]
		i := slices.IndexFunc(holders, func(h Holder) bool { return h.ID == p.ID })
		if i < 0 {
			i, holders = len(holders), append(holders, Holder{Peer: p})
		}
		holders[i].Count++
		if list && listed < MaxListed {
			listed++
			holders[i].Sessions = append(holders[i].Sessions, d.store.session(e))
		}
	})
	sort.Slice(holders, func(i, j int) bool { return holders[i].Name < holders[j].Name })
	return holders, silent, true
}

// A question is a byte (1: list the sessions), and length and bytes of each uid. Its
// answer has for each user, in the same order, as many as fit:
//
//	nodes that are silent (2): length and bytes of the name of each
//	nodes that have sessions (2): id (4), length and bytes of the name, sessions (4),
//	of these listed (2): key (18), since (4), length and bytes of the class
const maxQuestion = 32 << 10 // bytes

func appendQuestion(uids []string, list bool) []byte {
	body := []byte{0}
	if list {
		body[0] = 1
	}
	for _, uid := range uids {
		if len(body)+1+len(uid) > maxQuestion {
			break
		}
		body = appendBytes(body, uid)
	}
	return body
}

// whereAsked answers a question.
func (d *Directory) whereAsked(_ context.Context, _ broadcast.Peer, body []byte) ([]byte, error) {
	r := reader{p: body}
	list := r.u8() != 0
	var answer []byte
	for len(r.p) > 0 {
		uid := string(r.bytes())
		if r.bad || uid == "" {
			return nil, errBody
		}
		holders, silent, ok := d.here(uid, list)
		if !ok {
			if len(answer) > 0 {
				break
			}
			return nil, errNotHome
		}
		one := appendAnswer(nil, holders, silent)
		if len(answer)+len(one) > broadcast.MaxControlBody {
			break
		}
		answer = append(answer, one...)
		d.mu.Lock()
		d.stats.Asked++
		d.mu.Unlock()
	}
	if len(answer) == 0 && len(body) > 1 {
		return nil, errors.New("the answer about one user is too long")
	}
	return answer, nil
}

func appendAnswer(p []byte, holders []Holder, silent []string) []byte {
	p = binary.BigEndian.AppendUint16(p, uint16(len(silent)))
	for _, name := range silent {
		p = appendBytes(p, name)
	}
	p = binary.BigEndian.AppendUint16(p, uint16(len(holders)))
	for _, h := range holders {
		p = appendBytes(binary.BigEndian.AppendUint32(p, h.ID), h.Name)
		p = binary.BigEndian.AppendUint32(p, uint32(h.Count))
		p = binary.BigEndian.AppendUint16(p, uint16(len(h.Sessions)))
		for i := range h.Sessions {
			s := &h.Sessions[i]
			p = binary.BigEndian.AppendUint32(append(p, s.Key[:]...), uint32(s.Since.Unix()))
			p = appendBytes(p, s.Class)
		}
	}
	return p
}

// readAnswer reads the answer to a question about the first of uids.
func readAnswer(p []byte, uids []string, list bool, found map[string][]Holder) (n int, silent []string, err error) {
	r := reader{p: p}
	for ; len(r.p) > 0 && n < len(uids); n++ {
		for range r.u16() {
			silent = append(silent, string(r.bytes()))
		}
		var holders []Holder
		for range r.u16() {
			h := Holder{Peer: broadcast.Peer{ID: r.u32(), Name: string(r.bytes())}, Count: int(r.u32())}
			for range r.u16() {
				s := Session{Key: r.key(), Since: time.Unix(int64(r.u32()), 0), Class: string(r.bytes())}
				if h.Sessions = append(h.Sessions, s); r.bad {
					return n, silent, errBody
				}
			}
			if holders = append(holders, h); r.bad {
				return n, silent, errBody
			}
		}
		if r.bad {
			return n, silent, errBody
		}
		if len(holders) > 0 {
			found[uids[n]] = holders
		}
	}
	if n == 0 {
		return 0, silent, errBody
	}
	return n, silent, nil
}
