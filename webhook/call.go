package webhook

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Call is an event for a backend. Nothing of it may be changed while Backend.Call
// runs.
type Call struct {
	// ID names the event: 1 to 128 of A-Z a-z 0-9 _ - : / @. It is the ce-id and the
	// webhook-id, the same for all attempts, so that a backend can recognise an
	// event that it has seen. A dot would make the signed text ambiguous.
	ID      string
	Type    string // ce-type, such as belfry.message
	Source  string // ce-source, a URI reference such as /nodes/a
	Subject string // ce-subject; "" for none
	Time    time.Time

	Caller Caller // whose fault a failure may be

	Extensions []Attribute
	Header     http.Header // further fields. Those that the call itself sets, and those of the connection, are left out

	ContentType string // of Body, which is the data of the event
	Body        []byte

	// Idempotent says that the backend may get the call more than once: it is
	// tried again after a failure (Options.Retries).
	Idempotent bool
}

// Attribute is an extension attribute of CloudEvents. Its name consists of 1 to
// 20 lower-case letters and digits. An attribute without a value is left out.
type Attribute struct{ Name, Value string }

// Answer is what a backend has answered.
type Answer struct {
	Status int // 200 to 599
	Header http.Header
	Body   []byte // complete, at most Options.MaxAnswer bytes; the caller owns it
}

// reserved are the attributes of CloudEvents 1.0 §3.1, and names that an extension
// must not have.
var reserved = map[string]bool{"id": true, "source": true, "specversion": true, "type": true,
	"datacontenttype": true, "dataschema": true, "subject": true, "time": true, "data": true}

// check returns an error if the call cannot be sent. It is a mistake of the
// caller: the parts that come from clients are encoded.
func (c *Call) check() error {
	switch {
	case !validID(c.ID):
		return fmt.Errorf("webhook: id %q; allowed are 1 to 128 of A-Z a-z 0-9 _ - : / @", c.ID)
	case c.Type == "":
		return fmt.Errorf("webhook: an event needs a type")
	case c.Source == "":
		return fmt.Errorf("webhook: an event needs a source")
	}
	for _, a := range c.Extensions {
		if !validAttribute(a.Name) {
			return fmt.Errorf("webhook: extension attribute %q; allowed are 1 to 20 of a-z 0-9, and no attribute that CloudEvents defines", a.Name)
		}
	}
	return nil
}

func validID(id string) bool {
	for i := range len(id) {
		if c := id[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_-:/@", c) >= 0) {
			return false
		}
	}
	return 0 < len(id) && len(id) <= 128
}

func validAttribute(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return 0 < len(name) && len(name) <= 20 && !reserved[name]
}
