package floor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"runtime/debug"

	"belfry/bench"
)

// Serve runs a floor at addr and carries out commands of package bench's
// control protocol from in until its end. It needs a separate process, because
// it turns the collector off.
func Serve(addr netip.AddrPort, threads int, in io.Reader, out io.Writer) error {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	// A raw system call keeps its processor (P), so GOMAXPROCS must be larger
	// than the number of threads that make such calls.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(threads+2, runtime.NumCPU())))
	f, err := Listen(addr, threads)
	if err != nil {
		return err
	}
	defer f.Close()
	replies := json.NewEncoder(out)
	commands := bufio.NewReader(in)
	for {
		line, err := commands.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading commands: %w", err)
		}
		var cmd bench.Command
		if err := json.Unmarshal(line, &cmd); err != nil {
			return fmt.Errorf("command: %w", err)
		}
		if err := replies.Encode(f.do(cmd)); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
	}
}

func (f *Floor) do(cmd bench.Command) bench.Reply {
	r := bench.Reply{ID: cmd.ID}
	switch {
	case cmd.Op == bench.OpSend && cmd.Send != nil:
		sent, err := f.Send(*cmd.Send)
		if err != nil {
			r.Error = err.Error()
			break
		}
		r.Sent = &sent
	case cmd.Op == bench.OpCount:
		r.Count = f.Count()
	case cmd.Op == bench.OpDrop:
		f.Drop()
	default:
		r.Error = fmt.Sprintf("op: %q is not a command of the floor, or its details are missing", cmd.Op)
	}
	return r
}
