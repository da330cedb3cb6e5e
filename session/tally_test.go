package session

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/poller"
)

// reported pushes a message and returns its complete report.
func (r *rig) reported(to message.Target, payload []byte, ack bool) *message.Report {
	r.t.Helper()
	return r.begun(to, payload, ack)()
}

// begun pushes a message and returns what waits for its report.
func (r *rig) begun(to message.Target, payload []byte, ack bool) func() *message.Report {
	r.t.Helper()
	done := make(chan struct{}, 64)
	report := message.NewReport(message.ReportRequest{Ack: ack}, func(*message.Report) { done <- struct{}{} })
	m := &message.Message{ID: fmt.Sprintf("m%d", pushes.Add(1)), Target: to, Payload: payload, Report: report}
	if err := r.push(m); err != nil {
		r.t.Fatal(err)
	}
	report.Seal()
	return func() *message.Report {
		select {
		case <-done:
		case <-time.After(clientTimeout):
			r.t.Fatal("the report is never complete")
		}
		return report
	}
}

var pushes atomic.Int64 // by begun

// outcomes returns the counts of a report in the order of the outcomes.
func outcomes(r *message.Report) (all [message.OutcomeCount]int) {
	for o := range message.OutcomeCount {
		all[o] = int(r.Count(o))
	}
	return all
}

func (r *rig) wantOutcomes(what string, report *message.Report, want [message.OutcomeCount]int) {
	r.t.Helper()
	if got := outcomes(report); got != want {
		r.t.Errorf("%s: written, bridged, queued, backlog, closed: %v; want %v", what, got, want)
	}
}

// A report counts readers, slow readers and sessions behind the bridge apart, whether a
// message is sent at once or in a fan-out run.
func TestReportOutcomes(t *testing.T) {
	for _, policy := range []poller.Policy{poller.Disconnect, poller.DropOldest} {
		for _, readers := range []int{3, smallTarget + 10} {
			t.Run(fmt.Sprint(policy, readers), func(t *testing.T) {
				r := newRig(t, Options{Adopts: true, Poller: poller.Options{Shards: 1, Policy: policy, Backlog: poller.Bounds{Frames: 2}}})
				for range readers {
					r.mustWire("/ws?topic=news&uid=u", "")
				}
				bridged := r.adoptFrom("", adoptedRequest+"\r\n") // also subscribes to news
				if resp, err := http.ReadResponse(bufio.NewReader(bridged), nil); err != nil || resp.StatusCode != 101 {
					t.Fatal(resp, err)
				}
				r.mustWire("/ws?topic=news", "")
				var slow [2]uint32 // one of TCP, one of the bridge
				r.on(0, func(h *shard) {
					for s, ok := h.ps.Next(0); ok; s, ok = h.ps.Next(s + 1) {
						if slow[0] = s; h.ps.Adopted(s) {
							slow[1] = s
						}
					}
					if slow[0] == slow[1] {
						t.Error("the last session is the one of the bridge")
					}
				})
				text := []byte("hello")
				r.wantOutcomes("nobody", r.reported(message.ToTopics("none"), text, false), [...]int{0, 0, 0, 0, 0})
				r.wantOutcomes("a user", r.reported(message.ToUsers("u"), text, false), [...]int{readers, 0, 0, 0, 0})
				r.wantOutcomes("all", r.reported(message.ToAll(), text, false), [...]int{readers + 1, 1, 0, 0, 0})
				r.on(0, func(h *shard) {
					stuff(t, h.ps.FD(slow[0]))
					stuff(t, h.ps.FD(slow[1]))
				})
				for range 2 { // the backlogs have room for two frames
					r.wantOutcomes("slow", r.reported(message.ToTopics("news"), text, false), [...]int{readers, 0, 2, 0, 0})
				}
				want := [message.OutcomeCount]int{readers, 0, 2, 0, 0}
				if policy == poller.Disconnect {
					want = [...]int{readers, 0, 0, 2, 0}
				}
				r.wantOutcomes("backlog full", r.reported(message.ToTopics("news"), text, false), want)
				r.wantOutcomes("excluded", r.reported(message.Target{Scope: message.ScopeAll, ExcludeTopics: []string{"news"}}, text, false), [...]int{0, 0, 0, 0, 0})
			})
		}
	}
}

// What reports counted as written, bridged and queued is what the clients get that read
// to the end, message by message, although runs are joined and some read slowly.
func TestReportsAreTheTruth(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Backlog: poller.Bounds{Frames: 4096, Bytes: 64 << 20}}})
	const quick, slow, messages = 150, 10, 60
	var got [messages + 1]atomic.Int64
	var readers sync.WaitGroup
	start := make(chan struct{})
	read := func(w *rawConn, begin <-chan struct{}) {
		readers.Go(func() {
			<-begin
			for {
				op, p, err := w.frame()
				if err != nil || op == gobwas.OpClose {
					t.Errorf("before the last message: %v", err)
					return
				}
				n := number(string(p))
				if n == messages {
					return
				}
				got[n].Add(1)
			}
		})
	}
	now := make(chan struct{})
	close(now)
	for i := range quick + slow {
		path := fmt.Sprintf("/ws?uid=u%d&topic=t%d", i%7, i%3)
		if i < quick {
			read(r.mustWire(path, ""), now)
		} else {
			read(r.slowWire(path, ""), start)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var waits []func() *message.Report
	for n := range messages {
		to := message.ToAll()
		switch rnd.IntN(3) {
		case 0:
			to = message.ToTopics("t0", "t1")
		case 1:
			to = message.ToUsers("u1", "u2", "u5")
		}
		waits = append(waits, r.begun(to, append(numbered(n), make([]byte, 16<<10)...), false))
	}
	queued := int64(0)
	var reports []*message.Report
	for _, wait := range waits {
		reports = append(reports, wait())
		queued += reports[len(reports)-1].Count(message.OutcomeQueued)
	}
	if queued == 0 {
		t.Error("nothing was queued, so slow readers were not tested")
	}
	close(start)
	r.reported(message.ToAll(), numbered(messages), false)
	readers.Wait()
	for n, report := range reports {
		o := outcomes(report)
		want := o[message.OutcomeWritten] + o[message.OutcomeQueued]
		if int64(want) != got[n].Load() || o[message.OutcomeBacklog]+o[message.OutcomeClosed] > 0 {
			t.Errorf("message %d: reported %v, clients got %d", n, o, got[n].Load())
		}
	}
}

// A session that moves to the shard of its user is counted once in the report of each
// message that it gets.
func TestReportsAroundTheCut(t *testing.T) {
	l := leave(t, Options{}, nil)
	var waits []func() *message.Report
	for _, text := range []string{"one", "two"} {
		waits = append(waits, l.r.begun(message.ToAll(), []byte(text), false))
	}
	l.r.seenBy(l.uid)
	l.move()
	l.want("thello " + l.uid + " L []")
	l.want("tlines: one")
	l.want("tlines: two")
	for _, wait := range waits {
		l.r.wantOutcomes("moved", wait(), [...]int{1, 0, 0, 0, 0})
	}
}

// Messages that are joined in one write are counted apart: the first waits, the others
// find the backlog full.
func TestReportsOfOneWrite(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 1, Backlog: poller.Bounds{Frames: 1}}})
	slow := r.seats(2)[1]
	r.on(0, func(h *shard) { stuff(t, h.ps.FD(slow.slot)) })
	release := r.block(0)
	var waits []func() *message.Report
	for range 3 {
		waits = append(waits, r.begun(message.ToAll(), []byte("joined"), false))
	}
	release()
	for i, wait := range waits {
		want := [message.OutcomeCount]int{0, 1, 0, 1, 0} // seats were adopted
		if i == 0 {
			want = [...]int{0, 1, 1, 0, 0}
		}
		r.wantOutcomes(fmt.Sprint("message ", i), wait(), want)
	}
	if n := r.Stats().Coalesced; n != 2 {
		t.Errorf("%d messages were joined to others", n)
	}
}

// Sessions behind the bridge are known as such also in the shard of their user.
func TestReportsOfMovedBridge(t *testing.T) {
	r := newRig(t, Options{Adopts: true, Poller: poller.Options{Shards: 2}})
	for i := range 24 {
		c := r.adoptFrom("", strings.Replace(adoptedRequest, "?topic=news", fmt.Sprint("?uid=u", i), 1)+"\r\n")
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
	}
	if r.Stats().Poller.MovedIn == 0 {
		t.Error("none was moved")
	}
	r.wantOutcomes("all", r.reported(message.ToAll(), []byte("x"), false), [...]int{0, 24, 0, 0, 0})
}

// A session whose connection breaks with the send is counted as closed, and so is one
// that takes nothing any more.
func TestReportsOfBrokenConnections(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 1}})
	seats := r.seats(2, "t")
	var reports [2]*message.Report
	r.on(0, func(h *shard) {
		unix.Shutdown(h.ps.FD(seats[0].slot), unix.SHUT_WR) // sends fail with EPIPE
		for n := range reports {                            // the second finds a connection that is being closed
			reports[n] = message.NewReport(message.ReportRequest{}, nil)
			d, err := r.Prepare(&message.Message{ID: "m", Target: message.ToTopics("t"), Payload: []byte("x"), Report: reports[n]})
			if err != nil || !h.ps.Reserve(poller.QueueBulk) {
				t.Error(err)
				return
			}
			d.left.Store(1)
			d.tally.report.Begin()
			h.dispatcher.dispatch(d)
			h.ps.Submit()
			reports[n].Seal()
		}
	})
	r.wantOutcomes("breaks", reports[0], [...]int{0, 1, 0, 0, 1})
	r.wantOutcomes("is broken", reports[1], [...]int{0, 1, 0, 0, 1})
}
