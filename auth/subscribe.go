package auth

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"belfry/message/strictjson"
	"belfry/session"
	"belfry/webhook"
	"belfry/ws"
)

// SubscribeOptions configure a SubscribeWebhook.
type SubscribeOptions struct {
	Hook

	Cache     int           // decisions that are remembered; below 0: none; 0: 65536
	CacheTime time.Duration // longest time for which one is remembered, whatever the answer says; 0: 10 min
}

// SubscribeWebhook has a backend decide about each subscription that no pattern
// permits.
type SubscribeWebhook struct {
	*caller
	opt   SubscribeOptions
	cache decisionCache
	count [subscribeResults]atomic.Uint64
}

// subscribeResult is how a decision came about.
type subscribeResult uint8

const (
	subscribeAllowed     subscribeResult = iota // by the webhook
	subscribeRefused                            // by the webhook
	subscribeCached                             // a decision that was remembered
	subscribeUnavailable                        // undecided: there was no answer
	subscribeAnswer                             // undecided: the answer is not valid
	subscribeQueue                              // undecided: too many wait
	subscribeResults
)

var subscribeNames = [subscribeResults]string{"allowed", "refused", "cached", "unavailable", "bad_answer", "queue"}

// NewSubscribeWebhook returns a SubscribeWebhook.
func NewSubscribeWebhook(o SubscribeOptions) (*SubscribeWebhook, error) {
	c, err := newCaller(o.Hook)
	if err = errors.Join(err, fill("Cache", &o.Cache, 1<<16, -1, 1<<24), fill("CacheTime", &o.CacheTime, 10*time.Minute, time.Second, 24*time.Hour)); err != nil {
		return nil, err
	}
	return &SubscribeWebhook{caller: c, opt: o, cache: decisionCache{most: max(o.Cache, 0)}}, nil
}

// Close ends the calls and the goroutines. Clients that wait are told to try again.
func (w *SubscribeWebhook) Close() { w.close() }

// Stats may be called from any goroutine. cached is how many decisions are
// remembered.
func (w *SubscribeWebhook) Stats() (st HookStats, cached int) {
	decisions := make(map[string]uint64, subscribeResults)
	for i := range w.count {
		decisions[subscribeNames[i]] = w.count[i].Load()
	}
	cached, _ = w.cache.load()
	return w.stats(decisions), cached
}

// MaySubscribe implements session.Subscriptions. It runs on a shard and never
// waits. later must not be called on a shard, so that a decision which is known at
// once takes a goroutine of its own.
func (w *SubscribeWebhook) MaySubscribe(c *session.Client, topic string, later func(d session.Decision, detail string)) {
	now := time.Now()
	if d, ok := w.cache.get(c.UID, topic, now); ok {
		w.count[subscribeCached].Add(1)
		go later(d.is, d.reason)
		return
	}
	n := len(c.UID) + len(c.Meta) + len(c.Agent) + len(topic)
	if !w.queue.reserve(n) {
		w.count[subscribeQueue].Add(1)
		go later(session.Undecided, "too many clients wait for a decision (auth.subscribe_webhook.queue_bytes); try again")
		return
	}
	w.queue.add(func() {
		answered := false
		answer := func(d subscribeDecision) {
			answered = true
			w.queue.release(n)
			later(d.is, d.reason)
		}
		w.guard(func() { answer(w.ask(c, topic, now)) }, func() {
			if !answered {
				answer(subscribeDecision{reason: "a fault of this server; try again"})
			}
		})
	})
}

// ask calls the webhook. Without a valid answer nothing is decided. It runs on a
// goroutine of the queue.
func (w *SubscribeWebhook) ask(c *session.Client, topic string, since time.Time) subscribeDecision {
	b := strictjson.AppendString(append(make([]byte, 0, 512), `{"event":"subscribe","uid":`...), c.UID)
	b = strictjson.AppendString(append(b, `,"topic":`...), topic)
	b = append(appendClient(append(b, ','), c), '}')
	attributes := []webhook.Attribute{{Name: "uid", Value: c.UID}, {Name: "sid", Value: c.SID}, {Name: "topic", Value: topic}}
	answer, err := w.call(since, webhook.CallerOf(c.UID, ws.ClientPrefix(c.Addr.Addr())), "belfry.session.subscribe", attributes, b)
	var status *webhook.StatusError
	switch {
	case errors.As(err, &status) && refuses(status.Answer.Status):
		answer = status.Answer
	case errors.Is(err, errStopping):
		return subscribeDecision{reason: "this server stops; try again"}
	case err != nil:
		w.warn("the subscribe webhook does not decide", "clients are told to try again", err)
		w.count[subscribeUnavailable].Add(1)
		return subscribeDecision{reason: "the service that decides about this topic does not answer; try again"}
	}
	read, err := readSubscription(answer)
	if err != nil {
		w.warn("the subscribe webhook gives an answer that is not valid", "clients are told to try again", err)
		w.count[subscribeAnswer].Add(1)
		return subscribeDecision{reason: "the service that decides about this topic gives an answer that is not valid; try again"}
	}
	if ttl := min(read.ttl, w.opt.CacheTime); ttl > 0 {
		key := decisionKey{everybody: read.everybody, topic: topic}
		if !read.everybody {
			key.uid = c.UID
		}
		w.cache.put(key, read.subscribeDecision, time.Now().Add(ttl))
	}
	if read.is == session.Permitted {
		w.count[subscribeAllowed].Add(1)
	} else {
		w.count[subscribeRefused].Add(1)
	}
	return read.subscribeDecision
}

// refuses says whether a status is a decision and not a failure.
func refuses(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound
}

// subscriptionAnswer is an answer of the subscribe webhook.
type subscriptionAnswer struct {
	subscribeDecision
	ttl       time.Duration // 0: not to be remembered
	everybody bool          // the decision holds for all clients
}

// readSubscription reads an answer. Without a body the status decides.
func readSubscription(answer *webhook.Answer) (a subscriptionAnswer, err error) {
	ok := answer.Status/100 == 2
	a.ttl = maxAge(answer.Header)
	if a.is = session.Denied; ok {
		a.is = session.Permitted
	}
	if len(bytes.TrimSpace(answer.Body)) == 0 {
		return a, nil
	}
	var o strictjson.Object
	if err := o.Parse(answer.Body); err != nil {
		if !ok {
			return a, nil // the page of an error
		}
		return a, &answerError{err.Error()}
	}
	said := false
	for _, f := range o.Fields() {
		if err := a.read(string(f.Name), jsontext.Value(f.Value), &said); err != nil && ok {
			return a, fieldError(err)
		}
	}
	if ok && !said {
		return a, &answerError{"allow is missing; it must be true or false, or the answer 204 without content"}
	}
	a.reason = readReason(answer.Body)
	if !ok { // whatever the body says
		a.is = session.Denied
	}
	return a, nil
}

func (a *subscriptionAnswer) read(name string, value jsontext.Value, said *bool) (err error) {
	switch name {
	case "allow":
		if k := value.Kind(); k != 't' && k != 'f' {
			return &claimError{name, "must be true or false"}
		}
		if a.is, *said = session.Denied, true; value.Kind() == 't' {
			a.is = session.Permitted
		}
	case "reason": // readReason
	case "ttl":
		if a.ttl, err = limitTime(name, value, 24*time.Hour); a.ttl < 0 { // 0 means none there
			a.ttl = 0
		}
	case "for":
		who, textErr := text(name, value)
		if textErr != nil || who != "user" && who != "everybody" {
			return &claimError{name, `must be "user" or "everybody"`}
		}
		a.everybody = who == "everybody"
	default:
		err = &claimError{strictjson.Shorten(name), "is not known; allowed are allow, reason, ttl and for"}
	}
	return err
}

// maxAge returns the time of Cache-Control: max-age (RFC 9111 §5.2.2); 0 with
// no-store or no-cache.
func maxAge(h http.Header) (age time.Duration) {
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
			switch name {
			case "no-store", "no-cache":
				return 0
			case "max-age":
				if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
					age = time.Duration(seconds) * time.Second
				}
			}
		}
	}
	return age
}
