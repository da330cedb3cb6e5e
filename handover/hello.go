package handover

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Formats of the state that this program reads and writes.
const (
	LowestFormat  = 1
	HighestFormat = 1
)

// Facts are what must be the same in both processes, because session ids, listeners
// and the way of messages depend on it.
type Facts struct {
	Node     string   `json:"node"` // "" in a successor: it takes the name of the old process
	Shards   int      `json:"shards"`
	Listen   []string `json:"listen"`
	Secure   []string `json:"tls_listen,omitempty"`
	API      string   `json:"api"`
	Monitor  string   `json:"monitor,omitempty"`
	Bus      string   `json:"bus"`      // alone, embedded or external
	Sessions int      `json:"sessions"` // most connections; each shard has as many slots
	Files    uint64   `json:"files"`    // RLIMIT_NOFILE
}

// hello is the first frame of a successor.
type hello struct {
	Lowest  int    `json:"lowest"`
	Highest int    `json:"highest"`
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Facts   Facts  `json:"facts"`
}

// Refusal is why a successor is not taken. Text is one sentence for people, which names
// the setting, both values and the way out.
type Refusal struct {
	Setting string `json:"setting,omitempty"`
	Text    string `json:"text"`
}

func (r *Refusal) Error() string { return r.Text }

// format returns the highest format that both sides know.
func (h *hello) format(version string) (int, *Refusal) {
	highest := min(h.Highest, HighestFormat)
	if highest < max(h.Lowest, LowestFormat) {
		return 0, &Refusal{"", fmt.Sprintf("the state formats do not fit: belfry %s writes %d to %d, its successor %s reads %d to %d: stop and start the node, which disconnects its clients, or go by a version in between",
			version, LowestFormat, HighestFormat, h.Version, h.Lowest, h.Highest)}
	}
	return highest, nil
}

// differ returns why a successor with the facts f cannot take over from a process with
// the facts old; nil if it can.
func (old *Facts) differ(f *Facts) *Refusal {
	other := func(setting, was, is string) *Refusal {
		return &Refusal{setting, fmt.Sprintf("%s is %s, in the process that serves it is %s: start the successor with the same value, or stop this node and start it anew, which disconnects its clients", setting, is, was)}
	}
	switch {
	case f.Node != "" && f.Node != old.Node:
		return other("node.name", old.Node, f.Node)
	case f.Shards != old.Shards:
		return other("shards", strconv.Itoa(old.Shards), strconv.Itoa(f.Shards))
	case !slices.Equal(f.Listen, old.Listen):
		return other("listen", list(old.Listen), list(f.Listen))
	case !slices.Equal(f.Secure, old.Secure):
		return other("tls.listen", list(old.Secure), list(f.Secure))
	case f.API != old.API:
		return other("api.listen", old.API, f.API)
	case f.Monitor != old.Monitor:
		return other("api.monitor_listen", orNone(old.Monitor), orNone(f.Monitor))
	case f.Bus != old.Bus:
		return other("nats (its servers)", old.Bus, f.Bus)
	case f.Sessions < old.Sessions:
		return &Refusal{"max_connections", fmt.Sprintf("max_connections with upgrade.max_pending is %d, in the process that serves it is %d: set at least as many, since every connection is handed over", f.Sessions, old.Sessions)}
	case f.Files < old.Files:
		return &Refusal{"", fmt.Sprintf("the successor may open %d files, the process that serves %d: raise its limit (ulimit -n, LimitNOFILE)", f.Files, old.Files)}
	}
	return nil
}

func list(items []string) string { return orNone(strings.Join(items, ",")) }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Inheritance is what a successor opens with. The old process goes on as before.
type Inheritance struct {
	Format   int               `json:"format"`
	Version  string            `json:"version"` // of the old process
	PID      int               `json:"pid"`     // of the old process
	Node     string            `json:"node"`
	Shards   int               `json:"shards"`
	Slots    int               `json:"slots"`    // of each shard, in Successor.Marks
	Sections map[string][]byte `json:"sections"` // of parts, by name
	Files    []string          `json:"files"`    // names of the descriptors of parts, in their order
	FDs      []int             `json:"-"`        // they belong to who reads the inheritance
}

// Take returns the descriptors with a name, in order, and removes them.
func (i *Inheritance) Take(name string) (fds []int) {
	left := 0
	for at, is := range i.Files {
		if is == name {
			fds = append(fds, i.FDs[at])
			continue
		}
		i.Files[left], i.FDs[left] = is, i.FDs[at]
		left++
	}
	i.Files, i.FDs = i.Files[:left], i.FDs[:left]
	return fds
}

// Heritage is the state of the node at the cut. Sections that a successor does not know
// it ignores.
type Heritage struct {
	Sections map[string][]byte `json:"sections"`
	Files    []string          `json:"files"`
	FDs      []int             `json:"-"`
}

// mustJSON encodes one of this package's own types, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("handover: " + err.Error())
	}
	return b
}
