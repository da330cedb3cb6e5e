package config

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

// Assignment gives a setting a value from the command line.
type Assignment struct {
	Flag  string // as typed, for errors: "--shards", "--set"
	Path  string // of the setting
	Value string // as Set reads it
}

// Inputs are the places that settings come from.
type Inputs struct {
	File  string       // YAML file, "" for none
	Env   []string     // "NAME=value", as os.Environ returns; only BELFRY_ names are used; an empty value counts as not set
	Flags []Assignment // in the order given; later ones win
}

// Loaded is a valid configuration with the sources of its values.
type Loaded struct {
	Config
	Sources map[string]Source // by path, of settings that do not have the default
	Unknown []string          // names of BELFRY_ variables that no setting has
	Renamed []Renamed         // settings that were given by their former names
}

// Load reads every source and validates the result. The error is of type Errors
// and has all faults, in the order of the sources.
func Load(src Inputs) (*Loaded, error) {
	l := newLoader()
	if src.File != "" {
		data, err := os.ReadFile(src.File)
		if err != nil {
			return nil, Errors{{Source: Source{From: src.File}, Detail: openError(err)}}
		}
		l.file(src.File, data)
	}
	l.environment(src.Env)
	l.flags(src.Flags)
	return l.finish()
}

// Check returns all faults of a file with the given name and contents. It looks
// at nothing but the file.
func Check(name string, data []byte) error {
	l := newLoader()
	l.file(name, data)
	_, err := l.finish()
	return err
}

// openError returns the error without the file name, which the Source already
// has.
func openError(err error) string {
	if e, ok := err.(*os.PathError); ok {
		return "cannot be read: " + e.Err.Error()
	}
	return err.Error()
}

// loader applies sources to a configuration, in the order of rising precedence.
type loader struct {
	loaded   *Loaded
	settings map[string]*Setting // by path
	byEnv    map[string]string   // paths of settings, and former ones
	sections map[string]bool
	errs     Errors
}

func newLoader() *loader {
	l := &loader{
		loaded:   &Loaded{Config: Default(), Sources: map[string]Source{}},
		settings: map[string]*Setting{},
		byEnv:    map[string]string{},
		sections: map[string]bool{},
	}
	walk(&l.loaded.Config,
		func(s Section) { l.sections[s.Path] = true },
		func(s Setting) { l.settings[s.Path], l.byEnv[s.Env] = &s, s.Path })
	for path := range former {
		l.byEnv[variable(path)] = path
	}
	return l
}

func (l *loader) file(name string, data []byte) {
	f := &file{name: name, settings: l.settings, find: l.find, sections: l.sections, sources: map[string]Source{}}
	f.read(data)
	l.errs = append(l.errs, f.errs...)
	for path, origin := range f.sources {
		if l.settings[path] != nil {
			l.loaded.Sources[path] = origin
		}
	}
}

func (l *loader) environment(env []string) {
	env = append([]string(nil), env...)
	sort.Strings(env) // errors in a stable order
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, EnvPrefix) || value == "" {
			continue
		}
		origin := Source{From: "environment", Name: name}
		path := l.byEnv[name]
		if s, was := l.find(path, origin); s != nil {
			l.set(s, was, origin, value)
		} else {
			l.loaded.Unknown = append(l.loaded.Unknown, name)
		}
	}
}

func (l *loader) flags(flags []Assignment) {
	for _, a := range flags {
		origin := Source{From: "flag", Name: a.Flag}
		if s, was := l.find(a.Path, origin); s != nil {
			l.set(s, was, origin, a.Value)
			continue
		}
		l.errs = append(l.errs, &Error{Source: origin, Setting: a.Path, Detail: "no such setting" +
			(&file{settings: l.settings}).suggest(a.Path)})
	}
}

func (l *loader) set(s *Setting, was formerName, origin Source, text string) {
	l.loaded.Sources[s.Path] = origin
	if err := was.set(s, text); err != nil {
		l.errs = append(l.errs, &Error{Source: origin, Setting: s.Path, Detail: err.Error()})
	}
}

// finish applies the defaults of dev and validates. A setting that could not be
// read is not validated, so each setting has one error at most.
func (l *loader) finish() (*Loaded, error) {
	if l.loaded.Dev {
		for path, s := range l.settings {
			if _, told := l.loaded.Sources[path]; s.Dev != "" && !told {
				if err := s.Set(s.Dev); err != nil {
					return nil, fmt.Errorf("default of %s under dev: %w", path, err)
				}
			}
		}
	}
	bad := map[string]bool{}
	for _, p := range l.errs {
		bad[p.Setting] = true
	}
	for _, p := range l.loaded.errors() {
		if !bad[p.Setting] {
			p.Source = l.loaded.Sources[p.Setting]
			l.errs = append(l.errs, p)
		}
	}
	for _, p := range l.errs {
		if s := l.settings[p.Setting]; s != nil {
			p.secret = s.secret()
		}
	}
	if err := l.errs.orNil(); err != nil {
		return nil, err
	}
	return l.loaded, nil
}
