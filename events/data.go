package events

import (
	"strconv"
	"time"

	"belfry/message/strictjson"
	"belfry/session"
)

// Data is what an event says of a session: a JSON object. Members that are empty are
// left out.
type Data struct {
	SID, UID, Topic          string
	Address, Agent, Encoding string
	Meta                     []byte         // a JSON object; nil: none
	Reason                   session.Reason // of a session that has ended; ReasonNone: it has not
	Lasted                   time.Duration  // of the same
}

// DataOf returns what a Client says.
func DataOf(c *session.Client) Data {
	d := Data{SID: c.SID, UID: c.UID, Agent: c.Agent, Encoding: c.Encoding, Meta: c.Meta}
	if c.Addr.IsValid() {
		d.Address = c.Addr.String()
	}
	return d
}

// Append appends the object to dst.
func (d *Data) Append(dst []byte) []byte {
	dst = append(dst, `{"sid":`...)
	dst = strictjson.AppendString(dst, d.SID)
	for _, member := range [...]struct{ name, value string }{
		{"uid", d.UID}, {"topic", d.Topic}, {"address", d.Address}, {"agent", d.Agent}, {"encoding", d.Encoding},
	} {
		dst = appendMember(dst, member.name, member.value)
	}
	if len(d.Meta) > 0 {
		dst = append(append(dst, `,"meta":`...), d.Meta...)
	}
	if d.Reason != session.ReasonNone {
		dst = appendMember(dst, "reason", d.Reason.String())
		if code := d.Reason.Code(); code != 0 {
			dst = strconv.AppendUint(append(dst, `,"code":`...), uint64(code), 10)
		}
		dst = strconv.AppendFloat(append(dst, `,"duration":`...), d.Lasted.Seconds(), 'f', 3, 64)
	}
	return append(dst, '}')
}

// appendMember appends a further member of an object, unless its value is empty.
func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return strictjson.AppendString(dst, value)
}
