package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// cat answers every command: its echo has the command's ID.
func TestProcessMatchesReplies(t *testing.T) {
	p, err := Start(t.Context(), "cat", true, nil, "cat")
	if err != nil {
		t.Fatal(err)
	}
	first, second := p.Go(Command{Op: OpCount}), p.Go(Command{Op: OpCount})
	b, err2 := second(t.Context())
	a, err1 := first(t.Context())
	if err1 != nil || err2 != nil || a.ID != 1 || b.ID != 2 {
		t.Errorf("%+v %v, %+v %v", a, err1, b, err2)
	}
	p.Stop(10 * time.Second)
	if p.err != nil {
		t.Errorf("cat did not end with its input: %v", p.err)
	}
	if _, err := p.Call(t.Context(), Command{Op: OpCount}); err == nil {
		t.Error("a process that has ended answered")
	}
}

func TestProcessFailureSaysWhy(t *testing.T) {
	p, err := Start(t.Context(), "sh", true, nil, "sh", "-c", "read line; echo the reason >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Call(t.Context(), Command{Op: OpCount})
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "status 3") {
		t.Errorf("%v", err)
	}
}

func TestProcessRefusal(t *testing.T) {
	p, err := Start(t.Context(), "sh", true, nil, "sh", "-c", `read line; echo '{"id":1,"error":"no such thing"}'; read line`)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(10 * time.Second)
	if _, err := p.Call(t.Context(), Command{Op: OpCount}); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("%v", err)
	}
}

func TestProcessTalksNonsense(t *testing.T) {
	p, err := Start(t.Context(), "sh", true, nil, "sh", "-c", `read line; echo hello; read line`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Call(t.Context(), Command{Op: OpCount}); err == nil || !strings.Contains(err.Error(), "hello") {
		t.Errorf("%v", err)
	}
}

// The child ignores the end of its input and has a child itself: both must end.
func TestProcessDiesWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := Start(ctx, "sh", true, nil, "sh", "-c", "sleep 600 & wait; sleep 600")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-p.Exited():
	case <-time.After(time.Minute):
		t.Fatal("still there")
	}
	if !errors.Is(p.err, context.Canceled) && !strings.Contains(p.err.Error(), "killed") {
		t.Errorf("%v", p.err)
	}
}

func TestProcessStopKills(t *testing.T) {
	p, err := Start(t.Context(), "sh", false, nil, "sh", "-c", "trap '' TERM; while :; do sleep 600; done")
	if err != nil {
		t.Fatal(err)
	}
	p.Stop(20 * time.Millisecond) // returns only when the process has ended
}

func TestTailKeepsTheEnd(t *testing.T) {
	var out tail
	for range 100 {
		out.Write([]byte(strings.Repeat("x", 100)))
	}
	out.Write([]byte("end"))
	if s := out.String(); len(s) != tailSize || !strings.HasSuffix(s, "xend") {
		t.Errorf("%d bytes, ending in %q", len(s), s[len(s)-4:])
	}
}
