package offheap

import (
	"fmt"
	"reflect"
)

// Records is a Slab with records of type T.
type Records[T any] struct{ Slab }

// NewRecords reserves room for max records, as NewSlab does, and fails as it does.
// It also fails if T contains Go pointers (also strings, slices, maps, interfaces,
// functions and channels): the collector does not look at this memory, and would
// free what they refer to.
func NewRecords[T any](owner *Owner, max int) (*Records[T], error) {
	t := reflect.TypeFor[T]()
	if field := pointerIn(t, "it"); field != "" {
		return nil, fmt.Errorf("offheap: records of %v: %s holds a pointer, which the collector would not see", t, field)
	}
	r := new(Records[T])
	if err := r.reserve(owner, roundUp(int(t.Size()), 4), max); err != nil {
		return nil, err
	}
	return r, nil
}

// At returns the record of a slot. The conditions of Slab.Ptr apply.
func (r *Records[T]) At(slot uint32) *T { return (*T)(r.Ptr(slot)) }

// pointerIn returns the path of the first part of t that contains a Go pointer, ""
// if there is none.
func pointerIn(t reflect.Type, path string) string {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return ""
	case reflect.Array:
		if t.Len() == 0 {
			return ""
		}
		return pointerIn(t.Elem(), path+"[0]")
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if found := pointerIn(f.Type, path+"."+f.Name); found != "" {
				return found
			}
		}
		return ""
	}
	return path
}
