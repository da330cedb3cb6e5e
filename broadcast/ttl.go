package broadcast

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// A message that dies has the header Belfry-Ttl: how many milliseconds it has still to live
// when it is published. It is not a time of day, because the clocks of nodes differ.

// maxTTLValue is the length of the longest value of Belfry-Ttl.
const maxTTLValue = len("86400000")

func formatTTL(left time.Duration) string {
	ms := (left + time.Millisecond - 1) / time.Millisecond
	return strconv.FormatInt(int64(min(max(ms, 1), message.MaxTTL/time.Millisecond)), 10)
}

// expires returns when a message dies that arrives now, the zero time if it does not.
func expires(h nats.Header) (at time.Time, err error) {
	text, given, err := one(h, headerTTL)
	if err != nil || !given {
		return at, err
	}
	ms, err := milliseconds(text, message.MaxTTL)
	if err != nil {
		return at, bad(headerTTL, err.Error())
	}
	return time.Now().Add(ms), nil
}

// spread returns the time over which a message is sent, 0 if it is sent at once.
func spread(h nats.Header) (time.Duration, error) {
	text, given, err := one(h, headerSpread)
	if err != nil || !given {
		return 0, err
	}
	d, err := milliseconds(text, message.MaxSpread)
	if err != nil {
		return 0, bad(headerSpread, err.Error())
	}
	return d, nil // its least value and the scope are checked with the message
}

// milliseconds reads a number of milliseconds from 1 to most.
func milliseconds(text string, most time.Duration) (time.Duration, error) {
	ms, err := strconv.ParseUint(text, 10, 32)
	d := time.Duration(ms) * time.Millisecond
	if err != nil || text[0] == '0' || d > most {
		return 0, fmt.Errorf("allowed are 1 to %d milliseconds", most/time.Millisecond)
	}
	return d, nil
}
