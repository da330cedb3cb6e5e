package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
	maxWait      = 10 * time.Second // a Retry-After that asks for more ends the call
)

// mayRetry says whether another attempt of an idempotent call may succeed, after
// attempt n. A new call to a backend that is left alone fails at once; one that has
// been tried goes on, to outlive a restart of the backend.
func mayRetry(err error, n int) bool {
	var status *StatusError
	switch {
	case errors.As(err, &status):
		switch status.Answer.Status {
		case http.StatusTooManyRequests:
			return true
		case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
			return false
		}
		return status.Answer.Status >= 500
	case errors.Is(err, ErrAnswerTooBig):
		return false // it would be as long again
	case errors.Is(err, ErrOpen):
		return n > 0
	}
	return outcomeOf(err) != outcomeCanceled
}

// pause waits before attempt n + 1 of a call whose attempt n has ended with err:
// twice as long each time, by chance, so that calls which failed together do not
// come together again. It returns false if the wait would be too long, or ctx
// ends.
func pause(ctx context.Context, n int, err error) bool {
	wait := min(firstBackoff<<min(n, 10), maxBackoff)
	wait = wait/2 + rand.N(wait/2)
	var status *StatusError
	if errors.As(err, &status) && status.RetryAfter > 0 {
		wait = max(wait, status.RetryAfter+rand.N(status.RetryAfter/8+1))
	}
	deadline, bounded := ctx.Deadline()
	if wait > maxWait || bounded && time.Until(deadline) < wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// parseRetryAfter reads seconds or a date (RFC 9110 §10.2.3); 0 if there is none.
func parseRetryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
