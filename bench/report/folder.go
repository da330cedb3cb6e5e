package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"belfry/bench/plot"
)

// Chart is a chart of the report.
type Chart struct {
	File string // with the extension .svg
	Text string // under it
	plot.Chart
}

// Draw adds a chart, unless it has no series.
func (r *Report) Draw(c Chart) {
	if len(c.Series) > 0 {
		r.Charts = append(r.Charts, c)
	}
}

// WriteFolder writes report.md, report.json and the charts into dir. It makes
// dir if needed and keeps other files in it.
func (r *Report) WriteFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", r.Title)
	if r.Unfinished != "" {
		fmt.Fprintf(&b, "**Not finished:** %s\n\n", r.Unfinished)
	}
	fmt.Fprintf(&b, "- machine: %s\n- command: `%s`\n- began %s, took %.0f s, load average before %.2f\n\n",
		r.Machine, r.Command, r.Began.Format("2006-01-02 15:04:05 MST"), r.Took, r.LoadBefore)
	if r.Intro != "" {
		b.WriteString(r.Intro + "\n\n")
	}
	r.tables(&b)
	var errs []error
	for _, c := range r.Charts {
		errs = append(errs, c.Write(filepath.Join(dir, c.File)))
		fmt.Fprintf(&b, "\n## %s\n\n![%s](%s)\n\n%s\n", c.Title, c.Title, c.File, c.Text)
	}
	errs = append(errs, os.WriteFile(filepath.Join(dir, "report.md"), []byte(b.String()), 0o644))
	p, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "report.json"), append(p, '\n'), 0o644)
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
