package events

import (
	"strconv"
	"time"

	"belfry/message/strictjson"
)

// SubjectPrefix begins the subject of every event. The kind and the user bucket follow,
// or "none" for a session without a user: belfry.events.online.17.
const SubjectPrefix = "belfry.events."

// maxList limits the bytes of the users in one message, so that it fits where NATS
// accepts the smallest messages that nodes work with.
const maxList = 32 << 10

// busMessage is a message that is ready to be published.
type busMessage struct {
	subject string
	payload []byte
}

// messages writes an event as CloudEvents in JSON: one, or for many users several.
func (p *Publisher) messages(e *event) []busMessage {
	switch e.kind {
	case Users:
		return p.lists(e)
	case Online, Offline:
		uid := e.users[0]
		bucket := p.opt.Bucket(uid)
		b := p.envelope(e, "", "", uid)
		b = strictjson.AppendString(append(b, `{"uid":`...), uid)
		b = strconv.AppendUint(append(b, `,"bucket":`...), uint64(bucket), 10)
		return []busMessage{{e.subject(bucketName(bucket)), append(b, "}}"...)}}
	}
	d := DataOf(e.client)
	d.Topic, d.Reason, d.Lasted = e.topic, e.reason, e.lasted
	bucket := "none"
	if d.UID != "" {
		bucket = bucketName(p.opt.Bucket(d.UID))
	}
	return []busMessage{{e.subject(bucket), append(d.Append(p.envelope(e, d.SID, d.Topic, d.UID)), '}')}}
}

func bucketName(bucket uint16) string { return strconv.Itoa(int(bucket)) }

func (e *event) subject(bucket string) string { return SubjectPrefix + e.kind.String() + "." + bucket }

// envelope begins the object of an event: all members up to the value of data.
func (p *Publisher) envelope(e *event, sid, topic, uid string) []byte {
	node, id := p.opt.Node, p.prefix+strconv.FormatUint(e.seq, 36)
	if e.node != "" { // as the gateway does: two nodes may tell of the session
		node, id = e.node, "gone-"+sid
	}
	b := append(make([]byte, 0, 512), `{"specversion":"1.0","id":`...)
	b = strictjson.AppendString(b, id)
	b = appendMember(b, "source", "/nodes/"+node)
	b = append(append(b, `,"type":"`...), kindInfo[e.kind].ceType...)
	b = e.at.UTC().AppendFormat(append(b, `","time":"`...), time.RFC3339Nano)
	b = append(b, '"')
	b = appendMember(b, "sid", sid)
	b = appendMember(b, "uid", uid)
	b = appendMember(b, "topic", topic)
	b = appendMember(b, "node", node)
	return append(b, `,"datacontenttype":"application/json","data":`...)
}

// lists writes the users of a bucket, in as many messages as they need.
func (p *Publisher) lists(e *event) (all []busMessage) {
	var parts [][]string
	first, size := 0, 0
	for i, uid := range e.users {
		if size += len(uid) + 3; size > maxList {
			parts = append(parts, e.users[first:i])
			first, size = i, len(uid)+3
		}
	}
	parts = append(parts, e.users[first:])
	subject := e.subject(bucketName(e.bucket))
	for i, users := range parts {
		b := p.envelope(e, "", "", "")
		b = strconv.AppendUint(append(b, `{"bucket":`...), uint64(e.bucket), 10)
		b = strconv.AppendInt(append(b, `,"part":`...), int64(i+1), 10)
		b = strconv.AppendInt(append(b, `,"parts":`...), int64(len(parts)), 10)
		b = append(b, `,"users":[`...)
		for j, uid := range users {
			if j > 0 {
				b = append(b, ',')
			}
			b = strictjson.AppendString(b, uid)
		}
		all = append(all, busMessage{subject, append(b, "]}}"...)})
	}
	return all
}
