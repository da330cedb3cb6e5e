package million

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"belfry/bench/tool"
)

// lineEvery is how often a long stage reports its progress without a terminal.
const lineEvery = 10 * time.Second

// progress shows what is being done: on a terminal a bar, and above it the
// finished stages; elsewhere lines.
type progress struct {
	out   io.Writer
	start time.Time
	bars  *mpb.Progress // nil without a terminal

	mu    sync.Mutex // guards what follows
	bar   *mpb.Bar   // nil without a terminal and between stages
	what  string
	began time.Time // of the stage
	done  int
	total int
	said  time.Time // the last line
}

func newProgress(out io.Writer) *progress {
	t := &progress{out: out, start: time.Now()}
	if f, ok := out.(*os.File); ok && tool.Terminal(f) {
		t.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40))
	}
	return t
}

// phase begins the next stage, with a number of things to do; 0 if there is
// nothing to count. It returns the previous stage.
func (t *progress) phase(total int, format string, args ...any) (before string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before = t.what
	t.close()
	t.what, t.began, t.done, t.total, t.said = fmt.Sprintf(format, args...), time.Now(), 0, total, time.Now()
	if t.bars == nil {
		fmt.Fprintf(t.out, "%5.0fs  %s\n", time.Since(t.start).Seconds(), t.what)
		return before
	}
	what := decor.Name(t.what+" ", decor.WC{W: 50, C: decor.DindentRight})
	if total == 0 {
		t.bar = t.bars.New(0, mpb.SpinnerStyle(), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(what),
			mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_MMSS)))
		return before
	}
	t.bar = t.bars.AddBar(int64(total), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(what),
		mpb.AppendDecorators(decor.CountersNoUnit("%d/%d "), decor.AverageSpeed(0, "%.0f/s ", decor.WCSyncSpace),
			decor.AverageETA(decor.ET_STYLE_MMSS, decor.WCSyncSpace)))
	return before
}

// add records that n more things are done. Any goroutine may call it.
func (t *progress) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done += n
	if t.bar != nil {
		t.bar.IncrBy(n)
		return
	}
	if time.Since(t.said) < lineEvery {
		return
	}
	t.said = time.Now()
	fmt.Fprintf(t.out, "%5.0fs    %d of %d, %.0f/s\n", time.Since(t.start).Seconds(), t.done, t.total,
		float64(t.done)/time.Since(t.began).Seconds())
}

// close ends the bar of the stage and replaces it by a line.
func (t *progress) close() {
	if t.bar == nil {
		return
	}
	t.bar.Abort(true)
	t.bar.Wait()
	t.bar = nil
	fmt.Fprintf(t.bars, "%5.0fs  %s, %.1f s\n", t.began.Sub(t.start).Seconds(), t.what, time.Since(t.began).Seconds())
}

// end leaves the terminal clean for the table.
func (t *progress) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
	if t.bars != nil {
		t.bars.Wait()
		t.bars = nil
	}
}
