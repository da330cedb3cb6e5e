package plot

import (
	"image/color"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	plotfont "gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Colours: text is nearly black, everything else that is not data is pale.
var (
	inkColor  = color.RGBA{0x22, 0x2b, 0x38, 0xff}
	paleColor = color.RGBA{0x5b, 0x67, 0x77, 0xff}
	axisColor = color.RGBA{0xb4, 0xbd, 0xc9, 0xff}
	gridColor = color.RGBA{0xe6, 0xea, 0xef, 0xff}
)

// palette returns the colour of series i: those of Okabe and Ito, which
// colour-blind people can distinguish, without yellow, which is hard to see on
// white, and a dark red, because nine servers are compared.
func palette(i int) color.Color {
	colors := [...]color.RGBA{
		{0x00, 0x72, 0xb2, 0xff}, // blue
		{0xd5, 0x5e, 0x00, 0xff}, // vermilion
		{0x00, 0x9e, 0x73, 0xff}, // green
		{0xcc, 0x79, 0xa7, 0xff}, // purple
		{0xe6, 0x9f, 0x00, 0xff}, // orange
		{0x56, 0xb4, 0xe9, 0xff}, // sky
		{0x5b, 0x67, 0x77, 0xff}, // grey
		{0x00, 0x00, 0x00, 0xff}, // black
		{0x88, 0x22, 0x55, 0xff}, // wine
	}
	return colors[i%len(colors)]
}

// Measures of the page, in points.
const (
	margin     = 20
	titleSize  = 17
	textSize   = 12
	tickSize   = 11
	swatch     = 22 // length of a sample line in the legend
	legendGap  = 18 // between entries
	legendLine = 20
	lineWidth  = 1.9
	dotRadius  = 3
)

// entry is one line of the legend.
type entry struct {
	name       string
	color      color.Color
	line, dots bool
}

func (e entry) glyph() draw.GlyphStyle {
	return draw.GlyphStyle{Color: e.color, Radius: dotRadius, Shape: draw.CircleGlyph{}}
}

func style(size vg.Length, c color.Color, bold bool) text.Style {
	f := plotfont.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = font.WeightBold
	}
	return text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler}
}

func styleAxis(a *plot.Axis, label string) {
	a.Label.Text = label
	label2 := style(textSize, paleColor, false)
	label2.XAlign, label2.YAlign, label2.Rotation = a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign, a.Label.TextStyle.Rotation
	a.Label.TextStyle = label2
	a.Label.Padding = 6
	a.Color, a.Width, a.Padding = axisColor, 0.8, 0
	tick := style(tickSize, inkColor, false)
	tick.XAlign, tick.YAlign = a.Tick.Label.XAlign, a.Tick.Label.YAlign
	a.Tick.Label = tick
	a.Tick.Color, a.Tick.Width, a.Tick.Length = axisColor, 0.8, 4
}

// draw draws title, legend and plot below one another.
func (c *Chart) draw(canvas draw.Canvas, p *plot.Plot, legend []entry) {
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	area := draw.Crop(canvas, margin, -margin, margin, -margin)
	if c.Title != "" {
		title := style(titleSize, inkColor, true)
		title.YAlign = draw.YTop
		canvas.FillText(title, vg.Point{X: area.Min.X, Y: area.Max.Y}, c.Title)
		area.Max.Y -= titleSize + 12
	}
	if len(legend) > 0 {
		area.Max.Y -= drawLegend(area, legend) + 8
	}
	p.Draw(area)
}

// drawLegend writes the entries side by side from the top left corner, on as
// many lines as they need, and returns the height used.
func drawLegend(area draw.Canvas, legend []entry) vg.Length {
	words := style(textSize, inkColor, false)
	words.YAlign = draw.YCenter
	x, y := area.Min.X, area.Max.Y-legendLine/2
	for _, e := range legend {
		wide := swatch + 6 + words.Width(e.name)
		if x > area.Min.X && x+wide > area.Max.X {
			x, y = area.Min.X, y-legendLine
		}
		if e.line {
			area.StrokeLine2(draw.LineStyle{Color: e.color, Width: lineWidth}, x, y, x+swatch, y)
		}
		if e.dots {
			area.DrawGlyph(e.glyph(), vg.Point{X: x + swatch/2, Y: y})
		}
		area.FillText(words, vg.Point{X: x + swatch + 6, Y: y}, e.name)
		x += wide + legendGap
	}
	return area.Max.Y - y + legendLine/2
}
