package report

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"belfry/bench"
	"belfry/bench/plot"
)

// example has everything that a report may have.
func example() *Report {
	r := &Report{Scenario: "fanout", Title: "Fan-out", Machine: "a machine", Command: "belfry-bench fanout", Intro: "How it was done.", Detail: map[string]int{"open": 3}}
	r.Figure("rate", 1234567.4, "/s")
	r.Figure("share", 0.01234, "%")
	r.Figure("count", 3, "")
	h := bench.NewHistogram()
	for range 1000 {
		h.Record(5e6)
	}
	r.Latency("publish → receipt", h)
	r.Latency("nothing", bench.NewHistogram())
	r.Lines = append(r.Lines, "clients: 2 processes")
	r.Warning("the clients were %s", "busy")
	r.Problem("it %s", "broke")
	r.Draw(Chart{File: "a.svg", Text: "What it shows.", Chart: plot.Chart{Title: "A", Series: []plot.Series{{X: []float64{1, 2}, Y: []float64{3, 4}}}}})
	r.Draw(Chart{File: "empty.svg", Chart: plot.Chart{Title: "Empty"}})
	return r
}

func TestWrite(t *testing.T) {
	r := example()
	r.End(errors.New("interrupted"))
	var b strings.Builder
	if err := r.Write(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| what  |      reached |\n", "| rate  | 1,234,567 /s |\n", "| share |     0.0123 % |\n", "| count |            3 |\n",
		"| publish → receipt | 5.0", "| 1,000 |\n", "\nclients: 2 processes\nwarning: the clients were busy\nFAILED: it broke\n",
		"\na machine\nbelfry-bench fanout\n", "NOT FINISHED: interrupted\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "nothing") {
		t.Errorf("a latency without values:\n%s", b.String())
	}
}

func TestWriteFolder(t *testing.T) {
	r := example()
	dir := filepath.Join(t.TempDir(), "new", "report")
	if err := r.WriteFolder(dir); err != nil {
		t.Fatal(err)
	}
	md, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Fan-out\n", "- machine: a machine\n- command: `belfry-bench fanout`\n", "\nHow it was done.\n", "| rate  | 1,234,567 /s |", "## A\n\n![A](a.svg)\n\nWhat it shows.\n"} {
		if !strings.Contains(string(md), want) {
			t.Errorf("no %q in\n%s", want, md)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.svg")); len(files) != 1 {
		t.Errorf("charts %v", files)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	detail := map[string]int{}
	back := Report{Detail: &detail}
	if err := json.Unmarshal(text, &back); err != nil || detail["open"] != 3 || len(back.Rows) != 3 || back.Rows[0].Unit != "/s" ||
		back.Latencies[0].Histogram.Quantiles() != r.Latencies[0].Quantiles {
		t.Errorf("%v: %s", err, text)
	}
}

func TestErr(t *testing.T) {
	missed := &Report{Rows: []bench.Row{{What: "x", Value: 2, Target: 1, Bound: bench.AtMost}}}
	if err := missed.Err(false); err != nil {
		t.Error(err)
	}
	if err := missed.Err(true); err == nil {
		t.Error("a missed target is no error")
	}
	if err := example().Err(false); err == nil || err.Error() != "it broke" {
		t.Error(err)
	}
}

func TestSeries(t *testing.T) {
	s := Gather([]float64{1, 3, 2}, func(v float64) float64 { return v * 100 })
	if got := s.String(); got != "200 (100–300)" || s.Median() != 200 {
		t.Errorf("%s, %v", got, s.Median())
	}
	if a, b := (Series{4.5}).String(), (Series{}).String(); a != "4.50" || b != "none" {
		t.Errorf("%s, %s", a, b)
	}
	row := Ratio(bench.Row{}, Series{10, 20}, Series{5, 20})
	if row.Value != 15/12.5 || len(row.Notes) != 1 || !strings.Contains(row.Notes[0], "1.50 (1–2)") {
		t.Errorf("%+v", row)
	}
	if row := Ratio(bench.Row{}, Series{1}, nil); row.Missing == "" {
		t.Errorf("%+v", row)
	}
}
