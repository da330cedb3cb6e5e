package tool

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Flags defines a flag for each field with a tag "flag" in the struct that
// options points to, and in the structs embedded in it, and sets the fields to
// their defaults. The tags of a field are:
//
//	flag   name of the flag, behind a comma its one-letter form
//	help   its description
//	value  default, "cpus" for the number of processors; a tag with the name of
//	       a command is that command's
//	range  "low..high" of a number or a duration; "0|low..high" allows 0 too
//	of     commands that have the flag; all have it without the tag
//
// A []string is given by repeating the flag, a []int or a List by commas.
func Flags(fs *pflag.FlagSet, options any, command string) {
	for _, f := range fields(reflect.ValueOf(options).Elem(), command) {
		f.define(fs)
	}
}

// List is a flag with several values, separated by commas.
type List []string

// CheckRanges returns an error that names each flag whose value is out of its
// range.
func CheckRanges(options any, command string) error {
	var errs []error
	for _, f := range fields(reflect.ValueOf(options).Elem(), command) {
		errs = append(errs, f.check())
	}
	return errors.Join(errs...)
}

// field is a field of options that has a flag.
type field struct {
	value                        reflect.Value
	name, short, help, def, span string
}

// fields returns those that a command has.
func fields(options reflect.Value, command string) (all []field) {
	for i := range options.NumField() {
		tag := options.Type().Field(i).Tag
		name, ok := tag.Lookup("flag")
		if of := strings.Fields(tag.Get("of")); len(of) > 0 && !slices.Contains(of, command) {
			continue
		}
		if !ok {
			if options.Type().Field(i).Anonymous {
				all = append(all, fields(options.Field(i), command)...)
			}
			continue
		}
		f := field{value: options.Field(i), help: tag.Get("help"), def: tag.Get("value"), span: tag.Get("range")}
		f.name, f.short, _ = strings.Cut(name, ",")
		if own, ok := tag.Lookup(command); ok {
			f.def = own
		}
		all = append(all, f)
	}
	return all
}

// define defines the flag. A default that is not of the field's type is a
// mistake in the program.
func (f *field) define(fs *pflag.FlagSet) {
	switch v := f.value.Addr().Interface().(type) {
	case pflag.Value:
		fs.VarP(v, f.name, f.short, f.help)
	case *bool:
		fs.BoolVarP(v, f.name, f.short, false, f.help)
	case *int:
		fs.IntVarP(v, f.name, f.short, 0, f.help)
	case *float64:
		fs.Float64VarP(v, f.name, f.short, 0, f.help)
	case *string:
		fs.StringVarP(v, f.name, f.short, "", f.help)
	case *time.Duration:
		fs.DurationVarP(v, f.name, f.short, 0, f.help)
	case *[]string:
		fs.StringArrayVarP(v, f.name, f.short, nil, f.help)
	case *List:
		fs.StringSliceVarP((*[]string)(v), f.name, f.short, nil, f.help)
	case *[]int:
		fs.IntSliceVarP(v, f.name, f.short, nil, f.help)
	default:
		panic(fmt.Sprintf("--%s: no flag can have the type %T", f.name, v))
	}
	if f.def == "" {
		return
	}
	if f.def == "cpus" {
		f.def = strconv.Itoa(runtime.NumCPU())
	}
	flag := fs.Lookup(f.name)
	var err error
	if list, ok := flag.Value.(pflag.SliceValue); ok { // Set would append the user's values to these
		err = list.Replace(strings.Split(f.def, ","))
	} else {
		err = flag.Value.Set(f.def)
	}
	if err != nil {
		panic(fmt.Sprintf("--%s: default %q: %v", f.name, f.def, err))
	}
	flag.DefValue = flag.Value.String()
}

func (f *field) check() error {
	span, zero := strings.CutPrefix(f.span, "0|")
	low, high, ok := strings.Cut(span, "..")
	if !ok {
		return nil
	}
	outside := func(v any, n float64) error {
		if n >= number(low) && n <= number(high) || zero && n == 0 {
			return nil
		}
		return fmt.Errorf("--%s %v: allowed are %s to %s", f.name, v, low, high)
	}
	switch v := f.value.Interface().(type) {
	case int:
		return outside(v, float64(v))
	case float64:
		return outside(v, v)
	case time.Duration:
		return outside(v, v.Seconds())
	case []int:
		for _, n := range v {
			if err := outside(n, float64(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// number reads a bound: a number, or a duration in seconds.
func number(s string) float64 {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return n
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		panic("the bound of a flag: " + err.Error())
	}
	return d.Seconds()
}
