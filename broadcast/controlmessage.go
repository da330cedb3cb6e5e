package broadcast

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxControlBody limits the body of a control message, in bytes. With its first
// line such a message fits into the max_payload of every NATS server that belfry
// runs on.
const MaxControlBody = 64 << 10

// maxKind limits the name of a kind, in bytes.
const maxKind = 32

// form says what a control message is for.
type form string

const (
	formTell    form = "tell"    // a command that is not answered
	formAsk     form = "ask"     // a command whose answer is awaited
	formAnswer  form = "answer"  // its answer
	formRefusal form = "refusal" // its answer if it failed; the body says why
)

// controlMessage is one message on belfry.ctl.all or belfry.ctl.node.<id>. Its
// first line is
//
//	belfry 1 <node id> <name> <form> <kind> <ref> <milliseconds>
//
// and the rest is the body.
type controlMessage struct {
	from Peer
	form form
	kind string
	ref  uint64        // of an ask, repeated by its answer; 0 for a tell
	left time.Duration // how long the answer to an ask is awaited; 0 otherwise
	body []byte
}

// append appends the bytes of the message. left is rounded up to milliseconds.
func (m *controlMessage) append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "belfry 1 %s %s %s %s %016x %d\n",
		nodeString(m.from.ID), m.from.Name, m.form, m.kind, m.ref, (m.left+time.Millisecond-1)/time.Millisecond)
	return append(dst, m.body...)
}

// maxControlHead limits the first line: its words, and the longest name and kind.
const maxControlHead = 256

// maxAsk is the longest time for which an answer is awaited.
const maxAsk = time.Minute

// parseControl reads a control message. Its body is a part of p.
func parseControl(p []byte) (m controlMessage, err error) {
	if len(p) > MaxControlBody+maxControlHead {
		return m, bad("control", fmt.Sprintf("%d bytes; a body has at most %d", len(p), MaxControlBody))
	}
	head, body, found := bytes.Cut(p, []byte{'\n'})
	f := strings.Split(string(head[:min(len(head), maxControlHead)]), " ")
	if !found || len(f) != 8 || f[0] != "belfry" || f[1] != "1" {
		return m, bad("control", "the first line is not: belfry 1 node name form kind ref milliseconds")
	}
	var ok bool
	if m.from.ID, ok = parseNode(f[2]); !ok || !nodeName(f[3]) {
		return m, bad("control", "invalid node id or name")
	}
	m.from.Name, m.form, m.kind, m.body = f[3], form(f[4]), f[5], body
	switch m.form {
	case formTell, formAsk, formAnswer, formRefusal:
	default:
		return m, bad("control", "allowed forms are tell, ask, answer and refusal")
	}
	if !validKind(m.kind) {
		return m, bad("control", fmt.Sprintf("allowed kinds are 1 to %d of a-z, 0-9, - and dots", maxKind))
	}
	if m.ref, err = strconv.ParseUint(f[6], 16, 64); err != nil || len(f[6]) != 16 || strings.ToLower(f[6]) != f[6] {
		return m, bad("control", "a ref has 16 lower-case hexadecimal digits")
	}
	ms, err := strconv.ParseUint(f[7], 10, 32)
	m.left = time.Duration(ms) * time.Millisecond
	if err != nil || m.left > maxAsk || len(f[7]) > 1 && f[7][0] == '0' {
		return m, bad("control", fmt.Sprintf("allowed are at most %d milliseconds", maxAsk/time.Millisecond))
	}
	return m, nil
}

// validKind reports whether kind is valid as the name of a kind.
func validKind(kind string) bool {
	for i := 0; i < len(kind); i++ {
		if c := kind[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return 0 < len(kind) && len(kind) <= maxKind
}
