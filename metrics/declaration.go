package metrics

import (
	"reflect"
	"strings"
)

// Metric is the declaration of one metric.
type Metric struct {
	Group  string
	Name   string
	Type   string // "counter", "gauge", "histogram" or, of the Go runtime, "summary"
	Labels []string
	Help   string

	index []int // of the field in the struct that declares it
}

// Metrics returns every declaration in the order of Values.
func Metrics() []Metric { return declarations(reflect.TypeFor[Values]()) }

// declarations returns those of a struct whose fields are groups of metrics, as
// Values is.
func declarations(t reflect.Type) (all []Metric) {
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
