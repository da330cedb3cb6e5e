package config

import "errors"

// former are the former names of settings. They work in this version, wherever a
// setting is given, and will not work in the next one.
var former = map[string]formerName{
	"session.open_topics": {now: "auth.subscribe"},
	"session.publish": {now: "auth.publish", convert: func(text string) (string, error) {
		switch text {
		case "true":
			return "*", nil
		case "false":
			return "", nil
		}
		return "", errors.New("neither true nor false")
	}},
}

// formerName is what became of a setting.
type formerName struct {
	now     string                       // its name
	convert func(string) (string, error) // from its former notation; nil: that is the same
}

// Former returns the present name of a former one, "" if path is none.
func Former(path string) string { return former[path].now }

// Renamed is a setting that was given by its former name.
type Renamed struct {
	Was, Is string
	Source  Source
}

// find returns the setting of a name, nil if there is none. The name may be a former
// one; that is noted, and was says so.
func (l *loader) find(path string, origin Source) (s *Setting, was formerName) {
	if s = l.settings[path]; s != nil {
		return s, was
	}
	if was = former[path]; was.now != "" {
		l.loaded.Renamed = append(l.loaded.Renamed, Renamed{path, was.now, origin})
	}
	return l.settings[was.now], was
}

// set sets a setting from a text that may be in a former notation.
func (n formerName) set(s *Setting, text string) error {
	if n.convert != nil {
		converted, err := n.convert(text)
		if err != nil {
			return s.quote(text, err)
		}
		text = converted
	}
	return s.Set(text)
}
