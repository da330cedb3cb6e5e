package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Errors of Backend.Call.
var (
	ErrBusy         = errors.New("too many calls to the backend are in flight")
	ErrOpen         = errors.New("the backend has failed again and again, and is left alone for a while")
	ErrTimeout      = errors.New("the backend did not answer in time")
	ErrAnswerTooBig = errors.New("the answer of the backend is too long")
)

// StatusError is an answer whose status is not 2xx. Redirects (3xx) are among
// them: they are not followed.
type StatusError struct {
	Answer     *Answer
	RetryAfter time.Duration // of the answer; 0: none
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the backend answered %d %s", e.Answer.Status, http.StatusText(e.Answer.Status))
}

// outcome is what the attempt of a call came to.
type outcome uint8

const (
	outcomeOK       outcome = iota
	outcomeRefused          // 3xx and 4xx
	outcomeFailed           // 5xx
	outcomeTimeout          // no complete answer in Options.Timeout
	outcomeError            // no connection, or it broke
	outcomeTooBig           // ErrAnswerTooBig
	outcomeBusy             // ErrBusy
	outcomeOpen             // ErrOpen
	outcomeCanceled         // the caller has given up
	outcomes
)

// outcomeNames are the labels of the metrics.
var outcomeNames = [outcomes]string{"ok", "refused", "failed", "timeout", "error", "too_big", "busy", "open", "canceled"}

// outcomeOf says what err, an error of Backend.Call, stands for.
func outcomeOf(err error) outcome {
	var status *StatusError
	switch {
	case err == nil:
		return outcomeOK
	case errors.As(err, &status) && status.Answer.Status < 500:
		return outcomeRefused
	case status != nil:
		return outcomeFailed
	case errors.Is(err, ErrTimeout):
		return outcomeTimeout
	case errors.Is(err, ErrAnswerTooBig):
		return outcomeTooBig
	case errors.Is(err, ErrBusy):
		return outcomeBusy
	case errors.Is(err, ErrOpen):
		return outcomeOpen
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return outcomeCanceled
	}
	return outcomeError
}
