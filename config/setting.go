package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// EnvPrefix begins the name of every environment variable of belfry.
const EnvPrefix = "BELFRY_"

// Setting describes one setting and refers to its field in a Config.
type Setting struct {
	Path string // keys joined by dots: "session.ping_interval"
	Env  string // environment variable: "BELFRY_SESSION_PING_INTERVAL"
	Flag string // its flag without dashes, "" if it can be set only by --set
	Doc  string // for people
	Zero string // what 0 or an empty value means, "" if it has no special meaning
	Dev  string // default under dev, "" if the same as without
	Enum []string

	def    string // default as tagged, "" for false, 0 or empty
	rng    string // "lo..hi" as tagged
	redact string // "url": passwords inside URLs are not shown
	value  reflect.Value
}

// Section is a group of settings in one mapping of the file.
type Section struct {
	Path string // "" for the top level
	Doc  string
}

// walk calls setting for each field of c in the order of declaration: first
// those of the top level, then those of the sections. It calls section before
// each section.
func walk(c *Config, section func(Section), setting func(Setting)) {
	section(Section{})
	walkStruct(reflect.ValueOf(c).Elem(), "", section, setting)
}

func walkStruct(v reflect.Value, prefix string, section func(Section), setting func(Setting)) {
	t := v.Type()
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		path := prefix + tag.Get("yaml")
		if v.Field(i).Kind() == reflect.Struct {
			section(Section{Path: path, Doc: tag.Get("doc")})
			walkStruct(v.Field(i), path+".", section, setting)
			continue
		}
		s := Setting{
			Path:   path,
			Env:    variable(path),
			Flag:   tag.Get("flag"),
			Doc:    tag.Get("doc"),
			Zero:   tag.Get("zero"),
			Dev:    tag.Get("dev"),
			def:    tag.Get("default"),
			rng:    tag.Get("range"),
			redact: tag.Get("redact"),
			value:  v.Field(i),
		}
		if enum := tag.Get("enum"); enum != "" {
			s.Enum = strings.Split(enum, "|")
		}
		setting(s)
	}
}

// variable returns the environment variable of a setting.
func variable(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// Settings returns every setting of c in the order of declaration. Setting
// one changes c.
func (c *Config) Settings() []Setting {
	var all []Setting
	walk(c, func(Section) {}, func(s Setting) { all = append(all, s) })
	return all
}

// Type returns the kind of value for people: "duration", "size", "integer",
// "true or false", "text" or "list".
func (s *Setting) Type() string {
	switch s.value.Interface().(type) {
	case time.Duration:
		return "duration"
	case Size:
		return "size"
	case int:
		return "integer"
	case bool:
		return "true or false"
	case []string, []Secret:
		return "list"
	}
	return "text"
}

// List says whether the setting holds several values.
func (s *Setting) List() bool { return s.value.Kind() == reflect.Slice }

// Bool says whether the setting is true or false.
func (s *Setting) Bool() bool { return s.value.Kind() == reflect.Bool }

// Set parses text and gives the setting its value. Items of a list are
// separated by commas.
func (s *Setting) Set(text string) error {
	if !s.List() {
		return s.setScalar(text)
	}
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return s.SetList(items)
}

// SetList sets the items of a list.
func (s *Setting) SetList(items []string) error {
	if !s.List() {
		return fmt.Errorf("one %s is wanted, not a list", s.Type())
	}
	list := reflect.MakeSlice(s.value.Type(), len(items), len(items))
	for i, item := range items {
		item, err := s.readText(item)
		if err != nil {
			return err
		}
		list.Index(i).SetString(item)
	}
	s.value.Set(list)
	return nil
}

func (s *Setting) setScalar(text string) error {
	switch s.value.Interface().(type) {
	case time.Duration:
		d, err := parseDuration(text)
		if err != nil {
			return s.quote(text, err)
		}
		s.value.SetInt(int64(d))
	case Size:
		n, err := ParseSize(text)
		if err != nil {
			return s.quote(text, err)
		}
		s.value.SetInt(int64(n))
	case int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return s.quote(text, errors.New("not a whole number"))
		}
		s.value.SetInt(n)
	case bool:
		switch text {
		case "true", "false":
			s.value.SetBool(text == "true")
		default:
			return s.quote(text, errors.New("neither true nor false"))
		}
	default: // string, Secret
		text, err := s.readText(text)
		if err != nil {
			return err
		}
		s.value.SetString(text)
	}
	return nil
}

// readText reads text and secrets. It refuses the placeholder that config print
// writes instead of a secret, so that the placeholder never becomes a password.
func (s *Setting) readText(text string) (string, error) {
	if strings.Contains(text, Redacted) {
		return "", fmt.Errorf("%s stands for a secret that was not printed; give the secret itself", Redacted)
	}
	if s.secret() {
		return CleanSecret(text)
	}
	return text, nil
}

func (s *Setting) quote(text string, problem error) error {
	return fmt.Errorf("%q is %w", text, problem)
}

// Items returns the values of a list, or the one value of another setting, in
// the form that Set reads.
func (s *Setting) Items() []string {
	switch v := s.value.Interface().(type) {
	case time.Duration:
		return []string{formatDuration(v)}
	case Secret:
		return []string{v.Reveal()}
	case []string:
		return v
	case []Secret:
		items := make([]string, len(v))
		for i, secret := range v {
			items[i] = secret.Reveal()
		}
		return items
	default:
		return []string{fmt.Sprint(v)}
	}
}

// secret says whether the value is a secret as a whole.
func (s *Setting) secret() bool {
	switch s.value.Interface().(type) {
	case Secret, []Secret:
		return true
	}
	return false
}

// Allowed describes the allowed values for people, "" if any value is.
func (s *Setting) Allowed() string {
	var allowed string
	switch {
	case s.Enum != nil:
		allowed = strings.Join(s.Enum, ", ")
		if i := strings.LastIndex(allowed, ", "); i >= 0 {
			allowed = allowed[:i] + " or" + allowed[i+1:]
		}
	case s.rng != "":
		lo, hi, _ := strings.Cut(s.rng, "..")
		allowed = lo + " to " + hi
		if s.Zero != "" {
			allowed = "0 (" + s.Zero + ") or " + allowed
		}
	}
	return allowed
}

// Ends returns the first and the last allowed value of a range, and 0 if that
// has a special meaning, in the form that Set reads. It returns nothing for a
// setting without a range.
func (s *Setting) Ends() []string {
	if s.rng == "" {
		return nil
	}
	first, last, _ := strings.Cut(s.rng, "..")
	if s.Zero == "" {
		return []string{first, last}
	}
	return []string{"0", first, last}
}

// bounds returns the tagged range as numbers.
func (s *Setting) bounds() (lo, hi int64) {
	parse := func(text string) int64 {
		limit := Setting{value: reflect.New(s.value.Type()).Elem()}
		if err := limit.setScalar(text); err != nil {
			panic("config: range of " + s.Path + ": " + err.Error()) // the tag is wrong; TestTags finds it
		}
		return limit.value.Int()
	}
	first, last, _ := strings.Cut(s.rng, "..")
	return parse(first), parse(last)
}

// check returns an error that names the allowed values unless the value is
// one of them.
func (s *Setting) check() error {
	switch {
	case s.Enum != nil:
		for _, word := range s.Enum {
			if s.value.String() == word {
				return nil
			}
		}
		return fmt.Errorf("%q; allowed are %s", s.value.String(), s.Allowed())
	case s.rng != "":
		n := s.value.Int()
		lo, hi := s.bounds()
		if n >= lo && n <= hi || n == 0 && s.Zero != "" {
			return nil
		}
		return fmt.Errorf("%s; allowed are %s", s.Items()[0], s.Allowed())
	}
	return nil
}
