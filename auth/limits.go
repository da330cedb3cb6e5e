package auth

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"belfry/message/strictjson"
	"belfry/session"
)

// Ranges of the claim limits: those of the settings.
const (
	leastTime       = time.Second
	mostTime        = 24 * time.Hour
	mostPing        = time.Hour
	mostTopics      = 4096
	mostMessageRate = 1_000_000
)

// readLimits reads an object with the limits of one session, named as the settings
// in the section session are: {"idle":600,"ping_interval":"25s","topics":8}.
// Durations are seconds or Go durations; 0 turns a limit off.
func readLimits(claim string, value jsontext.Value) (l session.SessionLimits, err error) {
	var o strictjson.Object
	if value.Kind() != '{' {
		return l, &claimError{claim, "must be a JSON object"}
	}
	if err := o.Parse(value); err != nil {
		return l, &claimError{claim, "must be a JSON object of at most 16 limits, each given once"}
	}
	for _, f := range o.Fields() {
		name := claim + "." + strictjson.Shorten(string(f.Name))
		switch string(f.Name) {
		case "ping_interval":
			l.PingInterval, err = limitTime(name, f.Value, mostPing)
		case "idle":
			l.Idle, err = limitTime(name, f.Value, mostTime)
		case "idle_read":
			l.IdleRead, err = limitTime(name, f.Value, mostTime)
		case "idle_write":
			l.IdleWrite, err = limitTime(name, f.Value, mostTime)
		case "topics":
			l.Topics, err = limitCount(name, f.Value, 1, mostTopics)
		case "messages":
			if l.Messages, err = limitCount(name, f.Value, 0, mostMessageRate); l.Messages == 0 {
				l.Messages = -1
			}
		default:
			err = &claimError{name, "is no limit; allowed are ping_interval, idle, idle_read, idle_write, topics and messages"}
		}
		if err != nil {
			return session.SessionLimits{}, err
		}
	}
	return l, nil
}

func limitTime(name string, value []byte, most time.Duration) (time.Duration, error) {
	d := time.Duration(-1)
	switch jsontext.Value(value).Kind() {
	case '0':
		if n, err := strconv.ParseFloat(string(value), 64); err == nil && n >= 0 && n <= most.Seconds() {
			d = time.Duration(n * float64(time.Second))
		}
	case '"':
		if s, err := strictjson.String(name, value); err == nil {
			if parsed, err := time.ParseDuration(s); err == nil {
				d = parsed
			}
		}
	}
	switch {
	case d == 0:
		return -1, nil // none
	case d < leastTime || d > most:
		return 0, &claimError{name, fmt.Sprintf("must be 0 (none), or %v to %v, in seconds or as a text like \"25s\"", leastTime, most)}
	}
	return d, nil
}

func limitCount(name string, value []byte, least, most int) (int, error) {
	n, err := strconv.Atoi(string(value))
	if err != nil || n < least || n > most {
		return 0, &claimError{name, fmt.Sprintf("must be a whole number from %d to %d", least, most)}
	}
	return n, nil
}
