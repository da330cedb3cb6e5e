package hostile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sys/unix"

	"belfry/bench"
)

// agent controls an attacker by commands from a descriptor.
type agent struct {
	*attacker
	in     int
	out    io.Writer
	line   []byte
	attack uint64 // id of the opAttack that waits for its answer, 0 for none
}

// RunAttacker carries out commands from the descriptor in until its end. It
// locks the calling goroutine to its thread.
func RunAttacker(in int, out io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	a, err := newAttacker()
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(in, true); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: commandIndex}
	if err := unix.EpollCtl(a.epfd, unix.EPOLL_CTL_ADD, in, &ev); err != nil {
		return fmt.Errorf("standard input: %w (a pipe is needed)", err)
	}
	g := &agent{attacker: a, in: in, out: out}
	for {
		commands, err := a.poll()
		if err != nil {
			return err
		}
		if g.attack != 0 && a.allConnected() {
			id := g.attack
			g.attack = 0
			if err := g.reply(bench.Reply{ID: id}, nil); err != nil {
				return err
			}
		}
		if !commands {
			continue
		}
		if err := g.read(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (g *agent) read() error {
	var buf [4096]byte
	n, err := unix.Read(g.in, buf[:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("reading commands: %w", err)
	case n == 0:
		return io.EOF
	}
	g.line = append(g.line, buf[:n]...)
	for {
		line, rest, ok := bytes.Cut(g.line, []byte("\n"))
		if !ok {
			return nil
		}
		var cmd bench.Command
		if err := json.Unmarshal(line, &cmd); err != nil {
			return fmt.Errorf("command: %w", err)
		}
		if err := g.do(cmd); err != nil {
			return err
		}
		g.line = append(g.line[:0:0], rest...)
	}
}

func (g *agent) do(cmd bench.Command) error {
	switch cmd.Op {
	case opAttack:
		err := g.order(cmd.Detail)
		if err == nil {
			g.attack = cmd.ID
			return nil
		}
		return g.reply(bench.Reply{ID: cmd.ID, Error: err.Error()}, nil)
	case opReport:
		return g.reply(bench.Reply{ID: cmd.ID}, g.finish())
	}
	return g.reply(bench.Reply{ID: cmd.ID, Error: fmt.Sprintf("op: %q is not a command of an attacker", cmd.Op)}, nil)
}

// order begins the named attack.
func (g *agent) order(detail json.RawMessage) error {
	var o Order
	if err := json.Unmarshal(detail, &o); err != nil {
		return err
	}
	if g.start != 0 {
		return errors.New("an attack is in progress")
	}
	found, err := Find([]string{o.Attack})
	if err != nil {
		return err
	}
	g.begin(found[0].Plan(o.Count, o.Aim), o)
	return nil
}

func (g *agent) reply(r bench.Reply, detail any) error {
	if detail != nil {
		p, err := json.Marshal(detail)
		if err != nil {
			return fmt.Errorf("reply: %w", err)
		}
		r.Detail = p
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	_, err = g.out.Write(append(line, '\n'))
	return err
}
