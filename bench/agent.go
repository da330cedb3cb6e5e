package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// maxCommand is the longest accepted line of a command, in bytes.
const maxCommand = 64 << 10

// agent lets a Client be driven from another process. One thread does
// everything: commands are read from the same epoll set as the sockets.
type agent struct {
	client *Client
	in     int // commands
	out    io.Writer
	line   []byte    // an incomplete command
	dial   uint64    // id of the OpDial in progress, 0 for none
	echo   uint64    // id of the OpEcho in progress, 0 for none
	waits  []waiting // in no order
}

type waiting struct {
	id uint64
	Wait
	deadline int64
}

// RunClient carries out commands from the descriptor in until its end. It makes
// in non-blocking and locks the calling goroutine to its thread.
func RunClient(in int, out io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	client, err := NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := unix.SetNonblock(in, true); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if err := client.Watch(in); err != nil {
		return fmt.Errorf("standard input: %w (a pipe is needed)", err)
	}
	a := &agent{client: client, in: in, out: out}
	for {
		timeout := time.Minute
		if len(a.waits) > 0 {
			timeout = 100 * time.Millisecond
		}
		commands, err := client.Poll(timeout)
		if err != nil {
			return err
		}
		if err := a.checkWaits(); err != nil {
			return err
		}
		if commands {
			if err := a.read(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}

// read reads the available input and carries out the complete commands.
func (a *agent) read() error {
	var buf [4096]byte
	n, err := unix.Read(a.in, buf[:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("reading commands: %w", err)
	case n == 0:
		return io.EOF
	}
	a.line = append(a.line, buf[:n]...)
	for {
		line, rest, ok := bytes.Cut(a.line, []byte("\n"))
		if !ok {
			break
		}
		var cmd Command
		if err := json.Unmarshal(line, &cmd); err != nil {
			return fmt.Errorf("command: %w", err)
		}
		if err := a.do(cmd); err != nil {
			return err
		}
		a.line = append(a.line[:0], rest...)
	}
	if len(a.line) > maxCommand {
		return fmt.Errorf("command longer than %d bytes", maxCommand)
	}
	return nil
}

// do carries out one command. An error of the command goes into the reply; a
// returned error means that no reply can be sent any more.
func (a *agent) do(cmd Command) error {
	r := Reply{ID: cmd.ID}
	switch {
	case cmd.Op == OpDial && cmd.Dial != nil:
		err := errors.New("a dial is in progress")
		if a.dial == 0 {
			err = a.client.Dial(*cmd.Dial)
		}
		if err == nil {
			a.dial = cmd.ID
			return a.checkWaits()
		}
		r.Error = err.Error()
	case cmd.Op == OpWait && cmd.Wait != nil:
		a.waits = append(a.waits, waiting{cmd.ID, *cmd.Wait, a.client.clock.Now() + cmd.Wait.Timeout})
		return a.checkWaits()
	case cmd.Op == OpStats:
		s := a.client.Counters()
		if !cmd.Brief {
			s = a.client.Stats(cmd.Next)
		}
		r.Stats = &s
	case cmd.Op == OpMark:
		a.client.Mark()
	case cmd.Op == OpEcho && cmd.Echo != nil:
		if err := a.client.Echo(*cmd.Echo); err != nil {
			r.Error = err.Error()
			break
		}
		a.echo = cmd.ID
		return a.checkWaits()
	case cmd.Op == OpSlow:
		n, err := a.client.Slow(cmd.Slow)
		if r.Count = n; err != nil {
			r.Error = err.Error()
		}
	case cmd.Op == OpRead:
		r.Count = a.client.Read()
	case cmd.Op == OpDrop:
		a.client.Drop()
		a.dial, a.echo = 0, 0
	default:
		r.Error = fmt.Sprintf("op: %q is not a command of a client, or its details are missing", cmd.Op)
	}
	return a.reply(r)
}

// checkWaits answers the commands whose condition is met or whose time is over.
func (a *agent) checkWaits() error {
	if a.dial != 0 {
		if d, ok := a.client.Dialed(); ok {
			id := a.dial
			a.dial = 0
			if err := a.reply(Reply{ID: id, Dialed: &d}); err != nil {
				return err
			}
		}
	}
	if a.echo != 0 {
		if e, ok := a.client.Echoed(); ok {
			id := a.echo
			a.echo = 0
			if err := a.reply(Reply{ID: id, Echoed: &e}); err != nil {
				return err
			}
		}
	}
	for i := 0; i < len(a.waits); {
		w := a.waits[i]
		got, at := a.client.stats.Broadcast.Received, a.client.stats.LastBroadcast
		if w.Stream == Direct {
			got, at = a.client.stats.Direct.Received, a.client.stats.LastDirect
		}
		r := Reply{ID: w.id, At: at}
		if got < w.Until {
			if a.client.clock.Now() < w.deadline {
				i++
				continue
			}
			r.Error = fmt.Sprintf("%d of %d messages after %v", got, w.Until, time.Duration(w.Timeout))
		}
		a.waits = append(a.waits[:i], a.waits[i+1:]...)
		if err := a.reply(r); err != nil {
			return err
		}
	}
	return nil
}

func (a *agent) reply(r Reply) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	if _, err := a.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	return nil
}
