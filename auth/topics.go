package auth

import (
	"fmt"
	"slices"

	"belfry/message"
	"belfry/session"
	"belfry/ws"
)

// addTopics adds the topics that a request asks for to what its client is granted. It
// refuses the request if one of them is not granted already, and no pattern of
// everybody's or of the grant permits it. A topic that a pattern permits ends with that
// permission.
func addTopics(g *session.Grant, topics []string, everybody *message.Patterns) *ws.Refusal {
	all := slices.Clip(g.Topics) // append copies it: others may have the same grant
	for _, topic := range topics {
		switch {
		case slices.Contains(all, topic):
		case permits(g, topic, everybody):
			all = append(all, topic)
			g.Asked = append(g.Asked, topic)
		default:
			return ws.Forbidden(fmt.Sprintf("topic: %q is not open to this client: no pattern of auth.subscribe, of its token or of auth.webhook permits it", topic)).
				WithCause(session.CauseTopic)
		}
	}
	g.Topics = all
	return nil
}

func permits(g *session.Grant, topic string, everybody *message.Patterns) bool {
	return everybody.Match(topic, g.UID) || slices.ContainsFunc(g.Subscribe, func(pattern string) bool {
		// A webhook may have sent a pattern that is not valid; the session refuses it later.
		return message.CheckPattern(pattern) == nil && message.MatchPattern(pattern, topic, g.UID)
	})
}
