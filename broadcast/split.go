package broadcast

import "belfry/message"

// part is a bus message before its encoding: a message, one of its subjects, and
// the names of its target for this subject.
type part struct {
	subject string
	message *message.Message
	names   []string // values of the name header: users, sessions, or all topics if there are several
	size    int      // upper bound of its bytes, with envelope
	users   bool     // names are users, of the user bucket
	bucket  uint16

	origin  origin // the relay that it is or was; zero for none
	place   place  // of a push to users, once it got a path; zero without routes
	again   bool   // it was a relay, and the home did not confirm it
	forward bool   // it came as a relay, and this node passes it on as the home
	fence   uint64 // with forward: number of the fence that the home sends to all nodes
	refuse  bool   // with forward: nothing behind origin is passed on
	special string // header Belfry-Relay of a relay that is no push
	retire  origin // no push: the stream of relays of this node that has ended
}

// splitMessage returns the parts of m, one for each subject. Every topic is a
// subject, and each of these parts has all topics. Users are grouped by user
// bucket and sessions by node, and each part has only its own names. Sessions of
// this node are in no part, because the bus is not needed for them.
func splitMessage(m *message.Message, self uint32, nodeOf func(string) (uint32, error)) ([]part, error) {
	switch m.Target.Scope {
	case message.ScopeTopics:
		return splitTopics(m), nil
	case message.ScopeUsers:
		return splitUsers(m)
	case message.ScopeSessions:
		return splitNames(m, func(sid string) (string, error) {
			node, err := nodeOf(sid)
			if err != nil || node == self {
				return "", err
			}
			return nodeSubject(node), nil
		})
	}
	return []part{{subject: subjectAll, message: m, size: encodedSize(m, nil)}}, nil
}

func splitUsers(m *message.Message) ([]part, error) {
	parts, err := splitNames(m, func(uid string) (string, error) { return userBucketSubject(UserBucket(uid)), nil })
	for i := range parts {
		parts[i].users, parts[i].bucket = true, UserBucket(parts[i].names[0])
		parts[i].size += originSize + placeSize
	}
	return parts, err
}

func splitTopics(m *message.Message) []part {
	topics := distinct(m.Target.Names)
	list := topics
	if len(topics) == 1 {
		list = nil
	}
	size := encodedSize(m, list)
	out := make([]part, len(topics))
	for i, topic := range topics {
		out[i] = part{subject: subjectTopic + topic, message: m, names: list, size: size}
	}
	return out
}

// splitNames groups names by subject. It skips names with the subject "".
func splitNames(m *message.Message, subjectOf func(string) (string, error)) ([]part, error) {
	out := make([]part, 0, 1)
	at := make(map[string]int, 1)
	for _, name := range distinct(m.Target.Names) {
		subject, err := subjectOf(name)
		if err != nil {
			return nil, err
		}
		if subject == "" {
			continue
		}
		i, ok := at[subject]
		if !ok {
			i = len(out)
			at[subject] = i
			out = append(out, part{subject: subject, message: m})
		}
		out[i].names = append(out[i].names, name)
	}
	for i := range out {
		out[i].size = encodedSize(m, out[i].names)
	}
	return out, nil
}

// distinct returns names without repetitions, in order. The result may be names
// itself.
func distinct(names []string) []string {
	if len(names) < 2 {
		return names
	}
	seen := make(map[string]struct{}, len(names))
	out := make([]string, 0, len(names))
	for _, name := range names {
		if _, dup := seen[name]; !dup {
			seen[name] = struct{}{}
			out = append(out, name)
		}
	}
	return out
}
