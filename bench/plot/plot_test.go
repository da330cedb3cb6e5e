package plot

import (
	"encoding/xml"
	"errors"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func example() *Chart {
	c := &Chart{Title: "Handshakes & <rates>", X: "seconds", Y: "connections", Zero: true,
		Series: []Series{{Name: "open", Dots: true}, {Name: "done in steps", Steps: true}, {Name: "aim", Dots: true, Bare: true}}}
	for i := range 40 {
		x := float64(i)
		for s, y := range []float64{x * 500, math.Floor(x/5) * 2500, 9000 + 50*x} {
			c.Series[s].X, c.Series[s].Y = append(c.Series[s].X, x), append(c.Series[s].Y, y)
		}
	}
	return c
}

// texts returns the text of an SVG, which must be well-formed XML.
func texts(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	inText, elements := false, 0
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
			elements++
		case xml.CharData:
			if inText {
				b.Write(token)
			}
		}
	}
	if elements < 10 {
		t.Errorf("%s has %d elements only", path, elements)
	}
	return b.String()
}

func TestSVG(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.svg")
	if err := example().Write(path); err != nil {
		t.Fatal(err)
	}
	text := texts(t, path)
	for _, want := range []string{"Handshakes & <rates>", "seconds", "connections", "done in steps", "15k", "20k"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the text:\n%s", want, text)
		}
	}
}

func TestPNG(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	if err := example().Write(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if m, err := png.DecodeConfig(f); err != nil || m.Width != 2*width || m.Height != 2*height {
		t.Errorf("%d × %d, %v", m.Width, m.Height, err)
	}
}

func TestPercentileAxis(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.svg")
	c := Chart{Percentiles: true, Series: []Series{{X: []float64{0, 50, 99, 99.95}, Y: []float64{1, 2, 3, 4}}}}
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	text := texts(t, path)
	for _, want := range []string{"50", "75", "90", "99", "99.9"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	if strings.Contains(text, "99.99") {
		t.Errorf("the axis goes beyond the data: %q", text)
	}
}

// What measurements may contain: only one value, zeros on logarithmic axes,
// gaps.
func TestOddData(t *testing.T) {
	for name, c := range map[string]*Chart{
		"one point":   {Series: []Series{{X: []float64{3}, Y: []float64{0}, Dots: true}}},
		"flat":        {Zero: true, Series: []Series{{X: []float64{1, 2}, Y: []float64{5, 5}}}},
		"log":         {LogX: true, LogY: true, Series: []Series{{X: []float64{0, 1, 1000}, Y: []float64{1, 0, 7}}}},
		"log, narrow": {LogX: true, LogY: true, Series: []Series{{X: []float64{1e6, 1.1e6}, Y: []float64{1, 2}}}},
		"percentiles": {Percentiles: true, LogY: true, Series: []Series{{X: []float64{0, 50, 99, 100}, Y: []float64{1, 2, 3, 4}}}},
		"gaps":        {Series: []Series{{X: []float64{1, 2, 3}, Y: []float64{1, math.NaN(), math.Inf(1)}}}},
		"negative":    {Series: []Series{{X: []float64{1, 2, 3}, Y: []float64{-1e-4, 0, 1e-4}}}},
	} {
		path := filepath.Join(t.TempDir(), "a.svg")
		if err := c.Write(path); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if s := texts(t, path); strings.Contains(s, "NaN") || s == "" {
			t.Errorf("%s: %q", name, s)
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	for want, write := range map[string]func() error{
		"extension": func() error { return example().Write(filepath.Join(dir, "a.gif")) },
		"no point":  func() error { return (&Chart{}).Write(filepath.Join(dir, "a.svg")) },
		"1 x and 2 y": func() error {
			return (&Chart{Series: []Series{{X: []float64{1}, Y: []float64{1, 2}}}}).Write(filepath.Join(dir, "a.svg"))
		},
		"no such": func() error { return example().Write(filepath.Join(dir, "none", "a.svg")) },
	} {
		if err := write(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct {
		low, high float64
		log       bool
		want      string
	}{
		{0, 15000, false, "0 5k 10k 15k"},
		{0, 6, false, "0 1 2 3 4 5 6"},
		{0, 0.1, false, "0 0.02 0.04 0.06 0.08 0.10"},
		{0, 2.6e6, false, "0 500k 1.0M 1.5M 2.0M 2.5M"},
		{1, 1e6, true, "1 10 100 1k 10k 100k 1M"},
		{0.5, 60, true, "0.5 1 2 5 10 20 50"},
	} {
		ticks := linearTicks(tt.low, tt.high)
		if tt.log {
			ticks = logTicks(tt.low, tt.high)
		}
		var labels []string
		for _, tick := range ticks {
			if tick.Label != "" {
				labels = append(labels, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); got != tt.want {
			t.Errorf("%v to %v: %s; want %s", tt.low, tt.high, got, tt.want)
		}
	}
}

func TestPaletteTellsNineSeriesApart(t *testing.T) {
	seen := make(map[color.Color]int)
	for i := range 9 {
		c := palette(i)
		if j, ok := seen[c]; ok {
			t.Errorf("series %d and %d are %v", j, i, c)
		}
		seen[c] = i
	}
}
