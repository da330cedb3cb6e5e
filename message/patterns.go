package message

import (
	"fmt"
	"strings"
)

// UIDPlaceholder stands in a pattern for the user id of the session.
const UIDPlaceholder = "{uid}"

// Bounds of a list of patterns that comes from outside: a token, a webhook, the API.
const (
	MaxPatterns     = 64      // in one list
	MaxPatternBytes = 4 << 10 // of one list, each pattern with one byte more
)

// CheckPattern returns a *FieldError unless pattern is one of
//   - a topic,
//   - a topic followed by ".*", for all topics that begin with it and a dot,
//   - "*", for all topics.
//
// A whole token of it may be {uid}. A pattern has at most MaxTopicLen bytes.
func CheckPattern(pattern string) error {
	if pattern == "*" {
		return nil
	}
	sample, wild := strings.CutSuffix(pattern, ".*")
	tokens := strings.Split(sample, ".")
	for i, token := range tokens {
		if token == UIDPlaceholder {
			tokens[i] = "u"
		}
	}
	if wild {
		tokens = append(tokens, "x")
	}
	if len(pattern) > MaxTopicLen || CheckTopic(strings.Join(tokens, ".")) != nil {
		return &FieldError{"pattern", fmt.Sprintf("%.160q; allowed are a topic, a topic followed by .*, and *; up to %d bytes; a whole token may be %s", pattern, MaxTopicLen, UIDPlaceholder)}
	}
	return nil
}

// CheckPatterns returns a *FieldError unless all patterns are valid and the list is
// within MaxPatterns and MaxPatternBytes.
func CheckPatterns(patterns []string) error {
	if n := len(patterns); n > MaxPatterns {
		return &FieldError{"pattern", fmt.Sprintf("%d patterns; allowed are up to %d", n, MaxPatterns)}
	}
	size := 0
	for _, pattern := range patterns {
		if err := CheckPattern(pattern); err != nil {
			return err
		}
		size += len(pattern) + 1
	}
	if size > MaxPatternBytes {
		return &FieldError{"pattern", fmt.Sprintf("patterns of %d bytes; allowed are up to %d, each pattern with one byte more", size, MaxPatternBytes)}
	}
	return nil
}

// MatchPattern says whether a valid pattern matches a valid topic for the user uid;
// "" is no user. {uid} stands for exactly one token, which must be the same bytes as
// uid. So it matches nothing for a uid that cannot be a token (IsToken).
func MatchPattern[P, U string | []byte](pattern P, topic string, uid U) bool {
	at := 0 // in topic
	for i := 0; i < len(pattern); {
		switch c := pattern[i]; {
		case c == '*': // the last character, alone or behind a dot
			return true
		case c == '{':
			end := at
			for end < len(topic) && topic[end] != '.' {
				end++
			}
			if end == at || topic[at:end] != string(uid) {
				return false
			}
			i, at = i+len(UIDPlaceholder), end
		case at == len(topic) || topic[at] != c:
			return false
		default:
			i, at = i+1, at+1
		}
	}
	return at == len(topic)
}

// IsToken says whether a user id can be one token of a topic. No pattern with {uid}
// matches anything for other user ids.
func IsToken(uid string) bool { return !strings.Contains(uid, ".") && CheckTopic(uid) == nil }

// Patterns are compiled patterns of topics: which topics something holds for. Its
// methods may be called from several goroutines at once, and on a nil *Patterns,
// which matches nothing.
type Patterns struct {
	all    bool            // "*" is one of them
	exact  map[string]bool // topics
	others []string        // patterns with .* or {uid}
	users  bool            // some have {uid}
}

// CompilePatterns compiles a list of any length. It returns a *FieldError for a
// pattern that CheckPattern refuses.
func CompilePatterns(patterns []string) (*Patterns, error) {
	p := &Patterns{exact: map[string]bool{}}
	for _, pattern := range patterns {
		if err := CheckPattern(pattern); err != nil {
			return nil, err
		}
		users := strings.Contains(pattern, UIDPlaceholder)
		switch {
		case pattern == "*":
			p.all = true
		case users || strings.HasSuffix(pattern, "*"):
			p.others, p.users = append(p.others, pattern), p.users || users
		default:
			p.exact[pattern] = true
		}
	}
	return p, nil
}

// Match says whether a pattern matches a topic for the user uid; "" is no user. The
// topic must be valid: it was checked with CheckTopic.
func (p *Patterns) Match(topic, uid string) bool {
	if p == nil {
		return false
	}
	if p.all || p.exact[topic] {
		return true
	}
	for _, pattern := range p.others {
		if MatchPattern(pattern, topic, uid) {
			return true
		}
	}
	return false
}

// All says whether * is one of the patterns.
func (p *Patterns) All() bool { return p != nil && p.all }

// ForUsers says whether a pattern has {uid}.
func (p *Patterns) ForUsers() bool { return p != nil && p.users }
