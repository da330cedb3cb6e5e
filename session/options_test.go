package session

import (
	"strings"
	"testing"
	"time"

	"belfry/poller"
	"belfry/ws"
)

// An option out of its range is refused by its name.
func TestOptionErrors(t *testing.T) {
	for name, o := range map[string]Options{
		"MaxHead":             {MaxHead: ws.MinMaxHead - 1},
		"Poller.Shards":       {Poller: poller.Options{Shards: poller.MaxShards + 1}},
		"Limits.MaxMessage":   {Limits: ws.Limits{MaxMessage: -1}},
		"MaxSessions":         {MaxSessions: 1<<25 + 1},
		"MaxTopics":           {MaxTopics: -1},
		"MaxPerUser":          {MaxPerUser: -1},
		"PublishQueue":        {PublishQueue: 1<<16 + 1},
		"MailboxBytes":        {MailboxBytes: -1},
		"PingInterval":        {PingInterval: -time.Second},
		"CloseTime":           {CloseTime: maxTime + 1},
		"ReconnectAfter":      {ReconnectAfter: -2},
		"Limits.MaxFragments": {Limits: ws.Limits{MaxFragments: 1<<30 + 1}},
	} {
		s, err := New(o)
		if err == nil {
			s.Loop().Discard()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "session: ") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s out of range: %v", name, err)
		}
	}
	var o Options
	if err := o.fill(); err != nil || o.MaxTopics != 128 || o.MaxPerUser != 0 || o.CloseTime != 5*time.Second || o.Idle != 0 {
		t.Errorf("%+v: %v", o, err)
	}
}
