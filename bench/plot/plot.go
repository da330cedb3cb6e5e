// Package plot draws the charts of the reports, as SVG or PNG, with gonum/plot.
package plot

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Series is one line of a chart. X and Y have the same length; points that
// are no numbers, and those that a logarithmic axis cannot show, are left out.
type Series struct {
	Name  string // name in the legend; "" is not shown
	X, Y  []float64
	Steps bool // a staircase: the value stays until the next point
	Dots  bool // a marker at each point
	// Bare leaves out the line between the markers.
	Bare bool
}

// Chart is one diagram.
type Chart struct {
	Title      string
	X, Y       string // labels of the axes, with units
	LogX, LogY bool
	Zero       bool // the y axis begins at 0
	// Percentiles means that x is in percent, 0 to 100. The axis is stretched
	// towards 100, so that 90, 99 and 99.9 are equally far apart.
	Percentiles bool
	Series      []Series
}

// Size of a chart in points.
const (
	width  = 800
	height = 450
)

// dotsPerInch of a PNG: two dots per point, for high-resolution screens.
const dotsPerInch = 144

// Write draws the chart into a file whose extension is .svg or .png.
func (c *Chart) Write(path string) error {
	p, legend, err := c.plot()
	if err != nil {
		return fmt.Errorf("chart %q: %w", c.Title, err)
	}
	switch ext := filepath.Ext(path); ext {
	case ".svg":
		canvas := vgsvg.New(width, height)
		c.draw(draw.New(canvas), p, legend)
		return writeSVG(path, canvas)
	case ".png":
		canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dotsPerInch), vgimg.UseBackgroundColor(color.White))
		c.draw(draw.New(canvas), p, legend)
		return writeFile(path, vgimg.PngCanvas{Canvas: canvas})
	default:
		return fmt.Errorf("chart %q: %s: extension %q; allowed are .svg and .png", c.Title, path, ext)
	}
}

// plot returns gonum's plot of the chart, without title and legend.
func (c *Chart) plot() (*plot.Plot, []entry, error) {
	p := plot.New()
	styleAxis(&p.X, c.X)
	styleAxis(&p.Y, c.Y)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = gridColor, gridColor
	grid.Vertical.Width, grid.Horizontal.Width = vg.Points(0.5), vg.Points(0.5)
	p.Add(grid)
	var legend []entry
	for i, s := range c.Series {
		if len(s.X) != len(s.Y) {
			return nil, nil, fmt.Errorf("series %q: %d x and %d y", s.Name, len(s.X), len(s.Y))
		}
		points := c.visible(s)
		if len(points) == 0 {
			continue
		}
		e := entry{name: s.Name, color: palette(i), dots: s.Dots, line: !s.Bare}
		if !s.Bare {
			line, err := plotter.NewLine(points)
			if err != nil {
				return nil, nil, fmt.Errorf("series %q: %w", s.Name, err)
			}
			line.Color, line.Width = e.color, lineWidth
			if s.Steps {
				line.StepStyle = plotter.PostStep
			}
			p.Add(line)
		}
		if s.Dots {
			dots, err := plotter.NewScatter(points)
			if err != nil {
				return nil, nil, fmt.Errorf("series %q: %w", s.Name, err)
			}
			dots.GlyphStyle = e.glyph()
			p.Add(dots)
		}
		if s.Name != "" {
			legend = append(legend, e)
		}
	}
	if p.X.Min > p.X.Max {
		return nil, nil, errors.New("no point to show")
	}
	c.scale(p)
	return p, legend, nil
}

// visible returns the points of s that can be drawn.
func (c *Chart) visible(s Series) plotter.XYs {
	var points plotter.XYs
	for i := range s.X {
		x, y := s.X[i], s.Y[i]
		if c.Percentiles {
			x = 100 / (100 - min(x, mostPercent))
		}
		if math.IsNaN(x+y) || math.IsInf(x, 0) || math.IsInf(y, 0) || c.LogX && x <= 0 || c.LogY && y <= 0 {
			continue
		}
		points = append(points, plotter.XY{X: x, Y: y})
	}
	return points
}

// scale chooses the ranges and ticks of the axes.
func (c *Chart) scale(p *plot.Plot) {
	if c.Zero && !c.LogY {
		p.Y.Min = min(p.Y.Min, 0)
	}
	if c.Percentiles {
		p.X.Min = 1
	}
	for _, a := range []struct {
		axis *plot.Axis
		log  bool
	}{{&p.X, c.LogX || c.Percentiles}, {&p.Y, c.LogY}} {
		if a.log {
			if a.axis.Min == a.axis.Max {
				a.axis.Min, a.axis.Max = a.axis.Min/2, a.axis.Max*2
			}
			a.axis.Scale, a.axis.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
			continue
		}
		if a.axis.Min == a.axis.Max {
			a.axis.Max += max(math.Abs(a.axis.Max)/10, 1)
		}
		a.axis.Tick.Marker = plot.TickerFunc(linearTicks)
	}
	if c.Percentiles {
		p.X.Tick.Marker = plot.TickerFunc(percentTicks)
	}
	if !c.LogY { // room above the highest point
		p.Y.Max += (p.Y.Max - p.Y.Min) * 0.04
	}
}

func writeFile(path string, from io.WriterTo) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = from.WriteTo(f)
	return errors.Join(err, f.Close())
}

// writeSVG writes the canvas with names of fonts that browsers have. Liberation
// Sans, with which the text was set, has the same metrics as Arial.
func writeSVG(path string, canvas *vgsvg.Canvas) error {
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	named := bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	return os.WriteFile(path, named, 0o644)
}
