package tool

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// Progress shows what is being done: a bar on a terminal, elsewhere a line for
// each step. One goroutine may use it.
type Progress struct {
	out         io.Writer
	start       time.Time
	bars        *mpb.Progress // nil without a terminal
	bar         *mpb.Bar
	doing       atomic.Pointer[string] // read by the bar's own goroutine
	done, total int
}

// Terminal says whether f is a terminal: only terminals have terminal settings.
func Terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// NewProgress writes to f: bars if that is a terminal, else lines.
func NewProgress(f *os.File) *Progress {
	p := &Progress{out: f, start: time.Now()}
	if Terminal(f) {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40))
	}
	return p
}

// Begin says how many steps there will be.
func (p *Progress) Begin(steps int) {
	p.total = steps
	p.Note("starting")
	if p.bars != nil {
		p.bar = p.bars.AddBar(int64(steps),
			mpb.PrependDecorators(decor.Elapsed(decor.ET_STYLE_MMSS, decor.WC{W: 6})),
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_MMSS, decor.WC{W: 6}),
				decor.Any(func(decor.Statistics) string { return "  " + *p.doing.Load() })))
	}
}

// Step says that the next step begins.
func (p *Progress) Step(format string, args ...any) {
	p.Note(format, args...)
	if p.bar != nil {
		p.bar.SetCurrent(int64(p.done)) // the steps before this one
	} else {
		fmt.Fprintf(p.out, "%4.0fs %2d/%d  %s\n", time.Since(p.start).Seconds(), p.done+1, p.total, *p.doing.Load())
	}
	p.done++
}

// Note adds a note to the present step.
func (p *Progress) Note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.doing.Store(&text)
}

// Say prints a line above the bar.
func (p *Progress) Say(format string, args ...any) {
	out := p.out
	if p.bars != nil {
		out = p.bars
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// End leaves the terminal clean for the table.
func (p *Progress) End() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}
