package metrics

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metric is the declaration of one metric.
type Metric struct {
	Group  string
	Name   string
	Type   string // "counter", "gauge" or "histogram"
	Labels []string
	Help   string

	index []int // of the field in Values
}

// Metrics returns every declaration in the order of Values.
func Metrics() []Metric {
	var all []Metric
	t := reflect.TypeFor[Values]()
	for i := range t.NumField() {
		group := t.Field(i)
		for j := range group.Type.NumField() {
			tag := group.Type.Field(j).Tag
			m := Metric{
				Group: group.Tag.Get("group"),
				Name:  tag.Get("metric"),
				Type:  tag.Get("type"),
				Help:  tag.Get("help"),
				index: []int{i, j},
			}
			if labels := tag.Get("label"); labels != "" {
				m.Labels = strings.Split(labels, ",")
			}
			all = append(all, m)
		}
	}
	return all
}

// Collector is a prometheus.Collector of a Values.
type Collector struct {
	values func() Values
	fields []field
}

type field struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	index []int
}

// NewCollector returns a collector that calls values once for each scrape, on
// the goroutine of the scrape; several may run at once.
func NewCollector(values func() Values) *Collector {
	c := &Collector{values: values}
	for _, m := range Metrics() {
		kind := prometheus.GaugeValue
		if m.Type == "counter" {
			kind = prometheus.CounterValue
		}
		c.fields = append(c.fields, field{prometheus.NewDesc(m.Name, m.Help, m.Labels, nil), kind, m.index})
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range c.fields {
		out <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	values := c.values()
	v := reflect.ValueOf(&values).Elem()
	for _, f := range c.fields {
		f.collect(out, v.FieldByIndex(f.index))
	}
}

func (f *field) collect(out chan<- prometheus.Metric, v reflect.Value) {
	if h, ok := v.Interface().(Histogram); ok {
		out <- prometheus.MustNewConstHistogram(f.desc, h.Count, h.Sum, h.Buckets)
		return
	}
	if v.Kind() != reflect.Map {
		out <- f.metric(number(v))
		return
	}
	for series := v.MapRange(); series.Next(); {
		key := series.Key()
		if h, ok := series.Value().Interface().(Histogram); ok {
			out <- prometheus.MustNewConstHistogram(f.desc, h.Count, h.Sum, h.Buckets, key.String())
			continue
		}
		if key.Kind() == reflect.String {
			out <- f.metric(number(series.Value()), key.String())
			continue
		}
		labels := make([]string, key.Len())
		for i := range labels {
			labels[i] = key.Index(i).String()
		}
		out <- f.metric(number(series.Value()), labels...)
	}
}

func (f *field) metric(value float64, labels ...string) prometheus.Metric {
	m, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...)
	if err != nil { // a label is not UTF-8: the scrape fails with the metric's name, the process goes on
		return prometheus.NewInvalidMetric(f.desc, err)
	}
	return m
}

// number returns a field's value. A test checks that Values has no other kinds.
func number(v reflect.Value) float64 {
	if v.CanFloat() {
		return v.Float()
	}
	return float64(v.Uint())
}

// Limits of a scrape.
const (
	maxScrapes    = 4 // scrapes at the same time; further ones get 503
	scrapeTimeout = 10 * time.Second
)

// Handler serves the metrics of values, of the Go runtime and of the process
// in the formats that Prometheus asks for.
func Handler(values func() Values) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		NewCollector(values),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	}), nil
}
