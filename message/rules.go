package message

import (
	"fmt"
	"strings"
)

// TopicRules say which topics every client may subscribe to. Allow may be called
// from several goroutines at once.
type TopicRules struct {
	all      bool
	exact    map[string]bool
	prefixes []string
}

// CompileTopics compiles rules. A rule is a topic, "public.*" for all topics
// that begin with "public.", or "*" for all topics. It returns a *FieldError for
// anything else.
func CompileTopics(rules []string) (TopicRules, error) {
	t := TopicRules{exact: map[string]bool{}}
	for _, rule := range rules {
		prefix, wild := strings.CutSuffix(rule, "*")
		switch {
		case rule == "*":
			t.all = true
		case wild:
			if err := CheckTopic(prefix + "x"); err != nil || !strings.HasSuffix(prefix, ".") {
				return t, &FieldError{Field: "open_topics", Detail: fmt.Sprintf("%q; allowed are a topic, a topic followed by .*, and *", rule)}
			}
			t.prefixes = append(t.prefixes, prefix)
		default:
			if err := CheckTopic(rule); err != nil {
				return t, &FieldError{Field: "open_topics", Detail: err.Error()}
			}
			t.exact[rule] = true
		}
	}
	return t, nil
}

// Allow reports whether every client may subscribe to topic.
func (t *TopicRules) Allow(topic string) bool {
	if t.all || t.exact[topic] {
		return true
	}
	for _, p := range t.prefixes {
		if strings.HasPrefix(topic, p) {
			return true
		}
	}
	return false
}
