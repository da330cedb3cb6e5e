package session

import (
	"belfry/message"
)

// Adjust changes options of a server that runs. It checks o, of which it reads Rates
// (without those of users), Limits.MaxFragments, NodeLimits, MessageTime, CloseTime,
// MaxTopics, MaxDeciding, MaxAcks, MaxAsking, MaxWaiting, RefuseClient, Subscribe,
// Publishable and Presence, and returns what puts them in force; apply cannot fail, and
// returns when every shard has them. Nothing is taken from a session that has it: who
// has more topics than MaxTopics keeps them, and a subscription that is not permitted any
// more goes on. Any goroutine, one at a time.
func (s *Server) Adjust(o Options) (apply func(), err error) {
	next := s.opt
	next.adjust(&o)
	if err := next.fill(); err != nil {
		return nil, err
	}
	p, err := compilePermitted(&next)
	if err != nil {
		return nil, err
	}
	return func() {
		s.permitted.Store(p)
		s.connectRate.Store(newConnectRate(&next.NodeLimits))
		s.onShards(func(h *shard) { h.adjust(&next) })
	}, nil
}

// adjust takes what Adjust may change.
func (o *Options) adjust(from *Options) {
	users := o.Rates
	o.Rates = from.Rates
	o.Rates.UserMessages, o.Rates.UserMessageBurst = users.UserMessages, users.UserMessageBurst
	o.Rates.UserBytes, o.Rates.UserByteBurst = users.UserBytes, users.UserByteBurst
	o.Limits.MaxFragments = from.Limits.MaxFragments
	o.NodeLimits, o.MessageTime, o.CloseTime = from.NodeLimits, from.MessageTime, from.CloseTime
	o.MaxTopics, o.MaxDeciding, o.MaxAcks = from.MaxTopics, from.MaxDeciding, from.MaxAcks
	o.MaxAsking, o.MaxWaiting, o.RefuseClient = from.MaxAsking, from.MaxWaiting, from.RefuseClient
	o.Subscribe, o.Publishable, o.Presence = from.Subscribe, from.Publishable, from.Presence
}

// adjust puts options in force on this shard.
func (h *shard) adjust(next *Options) {
	h.opt.adjust(next)
	h.buckets.setRates(h.opt)
}

// permitted are the topics that every client may use. They are replaced as a whole.
type permitted struct {
	subscribe *message.Patterns // by command
	publish   *message.Patterns
	presence  *message.Patterns // of which every client may know the subscribers
}

func compilePermitted(o *Options) (*permitted, error) {
	p := new(permitted)
	for _, one := range []struct {
		name string
		from []string
		to   **message.Patterns
	}{{"Subscribe", o.Subscribe, &p.subscribe}, {"Publishable", o.Publishable, &p.publish}, {"Presence", o.Presence, &p.presence}} {
		var err error
		if *one.to, err = message.CompilePatterns(one.from); err != nil {
			return nil, message.Renamed(err, one.name)
		}
	}
	return p, nil
}
