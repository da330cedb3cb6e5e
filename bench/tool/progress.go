package tool

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// lineEvery is how often a long step says without a terminal how far it is.
const lineEvery = 10 * time.Second

// Progress shows what is being done. On a terminal it is a bar: one for all
// steps if Begin said how many there will be, else one for each step, which
// becomes a line at its end. Elsewhere it is a line for each step, and one every
// 10 s for a step that counts. Any goroutine may call Add, Set and Note; one
// calls the other methods.
type Progress struct {
	out   io.Writer
	start time.Time
	bars  *mpb.Progress          // nil without a terminal
	text  atomic.Pointer[string] // beside the bar; read by the bar's own goroutine

	mu    sync.Mutex // guards what follows
	bar   *mpb.Bar   // nil without a terminal and between steps
	step  string
	began time.Time // of the step
	said  time.Time // the last line
	count int       // of what the step counts
	total int       // 0 if it counts nothing
	at    int       // number of the step, from 1
	steps int       // of Begin, 0 without
}

// Terminal says whether f is a terminal: only terminals have terminal settings.
func Terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// NewProgress writes to out: bars if that is a terminal, else lines.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{out: out, start: time.Now()}
	empty := ""
	p.text.Store(&empty)
	if f, ok := out.(*os.File); ok && Terminal(f) {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40))
	}
	return p
}

// Begin says how many steps there will be.
func (p *Progress) Begin(steps int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = steps
	if p.bars != nil {
		p.bar = p.bars.AddBar(int64(steps),
			mpb.PrependDecorators(decor.Elapsed(decor.ET_STYLE_MMSS, decor.WC{W: 6})),
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_MMSS, decor.WC{W: 6}), p.beside()))
	}
}

// beside shows the text.
func (p *Progress) beside() decor.Decorator {
	return decor.Any(func(decor.Statistics) string { return "  " + *p.text.Load() })
}

// Step says that the next step begins.
func (p *Progress) Step(format string, args ...any) { p.Count(0, format, args...) }

// Count says that the next step begins, and that it will count to total.
func (p *Progress) Count(total int, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.steps == 0 {
		p.close()
	}
	p.at++
	p.step, p.began, p.said, p.count, p.total = fmt.Sprintf(format, args...), time.Now(), time.Now(), 0, total
	switch {
	case p.bars == nil && p.steps == 0:
		fmt.Fprintf(p.out, "%5.0fs  %s\n", time.Since(p.start).Seconds(), p.step)
	case p.bars == nil:
		fmt.Fprintf(p.out, "%5.0fs %2d/%d  %s\n", time.Since(p.start).Seconds(), p.at, p.steps, p.step)
	case p.steps > 0:
		p.bar.SetCurrent(int64(p.at - 1)) // the steps before this one
		p.text.Store(&p.step)
	default:
		empty := ""
		p.text.Store(&empty)
		p.bar = p.stepBar()
	}
}

// stepBar makes the bar of one step.
func (p *Progress) stepBar() *mpb.Bar {
	what := mpb.PrependDecorators(decor.Name(p.step+" ", decor.WC{W: 50, C: decor.DindentRight}))
	if p.total == 0 {
		return p.bars.New(0, mpb.SpinnerStyle(), mpb.BarRemoveOnComplete(), what,
			mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_MMSS), p.beside()))
	}
	return p.bars.AddBar(int64(p.total), mpb.BarRemoveOnComplete(), what,
		mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.AverageETA(decor.ET_STYLE_MMSS, decor.WC{W: 6}), p.beside()))
}

// Add counts n more.
func (p *Progress) Add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(p.count+n, "")
}

// Set sets the count of the step, with a note.
func (p *Progress) Set(count int, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(count, fmt.Sprintf(format, args...))
}

func (p *Progress) set(count int, note string) {
	p.count = count
	if note == "" && p.total > 0 {
		note = fmt.Sprintf("%d of %d, %.0f/s", count, p.total, float64(count)/max(time.Since(p.began).Seconds(), 1e-3))
	}
	if p.bar != nil && p.steps == 0 && p.total > 0 {
		p.bar.SetCurrent(int64(min(count, p.total-1))) // the whole number would end the bar
	}
	p.note(note)
}

// Note adds a note to the present step.
func (p *Progress) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(fmt.Sprintf(format, args...))
}

func (p *Progress) note(note string) {
	if p.bars == nil {
		if note != "" && time.Since(p.said) >= lineEvery {
			p.said = time.Now()
			fmt.Fprintf(p.out, "%5.0fs    %s\n", time.Since(p.start).Seconds(), note)
		}
		return
	}
	if p.steps > 0 {
		note = p.step + ": " + note
	}
	p.text.Store(&note)
}

// Doing returns the present step.
func (p *Progress) Doing() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.step
}

// Say prints a line above the bar.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say(format, args...)
}

func (p *Progress) say(format string, args ...any) {
	out := p.out
	if p.bars != nil {
		out = p.bars
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// close ends the bar of a step and replaces it by a line.
func (p *Progress) close() {
	if p.bar == nil {
		return
	}
	p.bar.Abort(true)
	p.bar.Wait()
	p.bar = nil
	if p.steps == 0 {
		p.say("%5.0fs  %s, %.1f s", p.began.Sub(p.start).Seconds(), p.step, time.Since(p.began).Seconds())
	}
}

// End leaves the terminal clean for the table.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close()
	if p.bars != nil {
		p.bars.Wait()
		p.bars = nil
		p.out = io.Discard // nothing follows
	}
}
