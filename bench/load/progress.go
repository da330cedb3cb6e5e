package load

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"belfry/bench/tool"
)

// showAfter is the time after which a bar is shown.
const showAfter = time.Second

// progress shows a bar on a terminal for phases that take more than a second,
// and nothing elsewhere. One goroutine may use it.
type progress struct {
	out   *os.File // nil if nothing is shown
	bars  *mpb.Progress
	bar   *mpb.Bar
	name  string
	total int64
	begun time.Time
	note  atomic.Pointer[string]
}

// newProgress shows bars on f if it is a terminal; f may be nil.
func newProgress(f *os.File) *progress {
	if f != nil && !tool.Terminal(f) {
		f = nil
	}
	return &progress{out: f}
}

// begin starts the next phase, which is complete at total.
func (p *progress) begin(name string, total int) {
	p.end()
	p.name, p.total, p.begun = name, int64(max(total, 1)), time.Now()
	empty := ""
	p.note.Store(&empty)
}

// set sets the progress of the phase and a note.
func (p *progress) set(current int, format string, args ...any) {
	if p.out == nil || p.bar == nil && time.Since(p.begun) < showAfter {
		return
	}
	note := fmt.Sprintf(format, args...)
	p.note.Store(&note)
	if p.bar == nil {
		p.show()
	}
	p.bar.SetCurrent(min(int64(current), p.total-1)) // this completes the bar
}

func (p *progress) show() {
	if p.bars == nil {
		p.bars = mpb.New(mpb.WithOutput(p.out), mpb.WithWidth(40))
	}
	name, begun := p.name, p.begun
	p.bar = p.bars.AddBar(p.total, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(
			decor.Percentage(decor.WC{W: 5}),
			decor.Any(func(s decor.Statistics) string { return "  " + eta(begun, s.Current, s.Total) }, decor.WC{W: 14}),
			decor.Any(func(decor.Statistics) string { return "  " + *p.note.Load() })))
}

// eta returns how long the rest will take at the present speed.
func eta(begun time.Time, current, total int64) string {
	if current <= 0 {
		return "ETA ?"
	}
	left := time.Duration(float64(time.Since(begun)) * float64(total-current) / float64(current))
	return "ETA " + left.Round(time.Second).String()
}

// end removes the bar.
func (p *progress) end() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bar.Wait()
		p.bar = nil
	}
}

// close leaves the terminal clean.
func (p *progress) close() {
	p.end()
	if p.bars != nil {
		p.bars.Wait()
	}
}
