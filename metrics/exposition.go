package metrics

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// contentType is Prometheus' text format. It is written here and not by
// Prometheus' client library: that also has a format of Protocol Buffers, which
// would be a tenth of the server's binary.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// exposition is metrics in the text format.
type exposition struct {
	text []byte
	err  error // the first
}

// add appends the metrics of a struct that declares them, as Values does. A
// metric without series is left out.
func (e *exposition) add(values any) {
	v := reflect.ValueOf(values)
	for _, m := range declarations(v.Type()) {
		e.metric(&m, v.FieldByIndex(m.index))
	}
}

func (e *exposition) metric(m *Metric, v reflect.Value) {
	if v.Kind() == reflect.Map && v.Len() == 0 {
		return
	}
	e.text = fmt.Appendf(e.text, "# HELP %s %s\n# TYPE %s %s\n", m.Name, helpEscapes.Replace(m.Help), m.Name, m.Type)
	if v.Kind() != reflect.Map {
		e.series(m, "", v)
		return
	}
	series := make(map[string]reflect.Value, v.Len())
	for each := v.MapRange(); each.Next(); {
		key := each.Key()
		values := []string{}
		if key.Kind() == reflect.String {
			values = append(values, key.String())
		} else {
			for i := range key.Len() {
				values = append(values, key.Index(i).String())
			}
		}
		series[e.labels(m, values)] = each.Value()
	}
	for _, labels := range slices.Sorted(maps.Keys(series)) {
		e.series(m, labels, series[labels])
	}
}

// labels returns the labels of a series, by name: `cause="none",status="101"`.
func (e *exposition) labels(m *Metric, values []string) string {
	pairs := make([]string, len(values))
	for i, value := range values {
		if !utf8.ValidString(value) && e.err == nil {
			e.err = fmt.Errorf("metric %s: the label %s=%q is not UTF-8", m.Name, m.Labels[i], value)
		}
		pairs[i] = m.Labels[i] + `="` + labelEscapes.Replace(value) + `"`
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// Escapes of the text format.
var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (e *exposition) series(m *Metric, labels string, v reflect.Value) {
	switch x := v.Interface().(type) {
	case Histogram:
		for _, bound := range slices.Sorted(maps.Keys(x.Buckets)) {
			e.line(m.Name+"_bucket", join(labels, "le", bound), float64(x.Buckets[bound]))
		}
		e.line(m.Name+"_bucket", join(labels, "le", math.Inf(1)), float64(x.Count))
		e.line(m.Name+"_sum", labels, x.Sum)
		e.line(m.Name+"_count", labels, float64(x.Count))
	case summary:
		for _, q := range slices.Sorted(maps.Keys(x.quantiles)) {
			e.line(m.Name, join(labels, "quantile", q), x.quantiles[q])
		}
		e.line(m.Name+"_sum", labels, x.sum)
		e.line(m.Name+"_count", labels, float64(x.count))
	default:
		e.line(m.Name, labels, number(v))
	}
}

// join adds a label whose value is a number.
func join(labels, name string, value float64) string {
	if labels != "" {
		labels += ","
	}
	return labels + name + `="` + string(appendNumber(nil, value)) + `"`
}

func (e *exposition) line(name, labels string, value float64) {
	e.text = append(e.text, name...)
	if labels != "" {
		e.text = append(append(append(e.text, '{'), labels...), '}')
	}
	e.text = append(appendNumber(append(e.text, ' '), value), '\n')
}

func appendNumber(dst []byte, v float64) []byte {
	if math.IsInf(v, 1) {
		return append(dst, "+Inf"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

// number returns a field's value. A test checks that Values has no other kinds.
func number(v reflect.Value) float64 {
	if v.CanFloat() {
		return v.Float()
	}
	return float64(v.Uint())
}
