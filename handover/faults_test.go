package handover

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// fakeClients connect to the process of each row.
const fakeClients = 40

// row is one line of the table.
type row struct {
	step, action string
	first        string // what became of the first restart
	on, closed   int    // clients that go on, and that were closed because the successor died in the middle
	wrong        int    // times that a client lost, doubled or mixed up messages
	second       Outcome
	onAfter      int
}

// TestFaults breaks the hand-over at each step of either side, and prints what became of
// the clients. After each fault the old process serves them all, and the next restart
// succeeds. If it is the old process that dies, those who had left it go on.
func TestFaults(t *testing.T) {
	var mu sync.Mutex
	rows := map[string]row{}
	running := make(chan struct{}, 10)
	t.Run("steps", func(t *testing.T) {
		for _, step := range Steps {
			for _, action := range []string{"refuse", "kill", "stop"} {
				t.Run(strings.ReplaceAll(string(step)+" "+action, " ", "-"), func(t *testing.T) {
					t.Parallel()
					running <- struct{}{}
					defer func() { <-running }()
					r := breakAt(t, step, action)
					mu.Lock()
					rows[string(step)+action] = r
					mu.Unlock()
				})
			}
		}
	})
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "STEP\tFAULT\tRESTART\tCLIENTS ON\tCLOSED\tWRONG\tSECOND RESTART\tCLIENTS ON\n")
	for _, step := range Steps {
		for _, action := range []string{"refuse", "kill", "stop"} {
			if r, there := rows[string(step)+action]; there {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d of %d\t%d\t%d\t%s\t%d\n", step, action, r.first, r.on, fakeClients, r.closed, r.wrong, r.second, r.onAfter)
			}
		}
	}
	w.Flush()
	t.Logf("\n%s", &b)
}

// breakAt runs a restart with a fault, and then one without.
func breakAt(t *testing.T, step Step, action string) row {
	nth := 1
	if slices.Contains([]Step{OldBatch, OldAck, NewBatch, NewImported}, step) {
		nth = 3
	}
	pid, socket, addr, all := startFake(t, fakeClients, fmt.Sprintf("%s=%s|%s|%d", envFault, step, action, nth))
	r := row{step: string(step), action: action}
	side, _, _ := strings.Cut(string(step), ":")
	done := make(chan struct{})
	defer close(done)
	if side == "old" && action == "stop" {
		go goOn(pid, done)
	}
	result, err := Ask(socket, Request{}, func(Progress) {})
	if r.first = string(result.Outcome); err != nil {
		r.first = "no answer"
	}
	died := side == "old" && action == "kill"
	if died {
		// Some clients are in the successor, which needs a moment to notice.
		eventually(t, "clients of the dead process end, others go on", func() bool {
			r.on = served(all)
			return r.on+endedOf(all) == fakeClients
		})
	} else {
		r.closed = result.Closed
		eventually(t, "all clients go on", func() bool { r.on = served(all); return r.on == fakeClients-r.closed })
	}
	r.check(t, &result, err, died)
	if died && r.on == 0 {
		r.second = "nobody is left"
		return r
	}
	all = append(all, dialFake(t, addr))
	eventually(t, "a new client is served", func() bool { return all[len(all)-1].last.Load() > 0 })
	eventually(t, "somebody listens at the control socket", func() bool {
		second, err := Ask(socket, Request{}, func(Progress) {})
		if err == nil {
			r.second = second.Outcome
		}
		return err == nil
	})
	eventually(t, "clients go on after the second restart", func() bool {
		r.onAfter = served(all)
		return r.onAfter == len(all)-endedOf(all)
	})
	if r.second != Served || r.onAfter != r.on+1 {
		t.Errorf("the second restart: %q, %d clients go on", r.second, r.onAfter)
	}
	for _, c := range all {
		r.wrong += int(c.wrong.Load())
	}
	if r.wrong > 0 && !died {
		t.Errorf("%d times a message was lost, doubled or out of order", r.wrong)
	}
	return r
}

// check says what is wrong after the first restart.
func (r *row) check(t *testing.T, result *Result, err error, died bool) {
	t.Helper()
	late := r.step == string(OldServed)
	stopped := strings.HasPrefix(r.step, "old") && r.action == "stop"
	want := Aborted
	switch {
	case died:
		if err == nil {
			t.Errorf("the process that died answered: %+v", result)
		}
		return
	case late || stopped:
		want = Served
	}
	if err != nil || result.Outcome != want {
		t.Errorf("the restart: %+v, %v; want %s", result, err, want)
	}
	if result.Closed > fakeShards { // each shard of the fake is in the middle of one at most
		t.Errorf("%d clients were closed", result.Closed)
	}
	if want == Aborted && result.Error == "" {
		t.Error("no reason is given")
	}
}

func endedOf(all []*fakeClient) (n int) {
	for _, c := range all {
		if c.ended.Load() {
			n++
		}
	}
	return n
}

// goOn lets a process that stops itself go on a little later than every limit.
func goOn(pid int, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(5 * time.Millisecond):
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		if at := bytes.LastIndexByte(stat, ')'); bytes.HasPrefix(stat[at+1:], []byte(" T")) {
			time.Sleep(2500 * time.Millisecond)
			_ = unix.Kill(pid, unix.SIGCONT)
			return
		}
	}
}
