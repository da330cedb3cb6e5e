package broadcast

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// Reporter counts what becomes of messages whose publishers want to know
// (message.Message.Report). The bus tells it of those of other nodes.
type Reporter interface {
	// Received is called with each part of such a message before it is delivered. It
	// returns the report that counts it, nil if it does not count it. q is the
	// part's own copy of what its publisher asks for.
	Received(id string, q message.ReportRequest) *message.Report
	// Asked says that a node asks what became of its message with this id. All
	// parts of it that come to this node have been received. There may be none.
	Asked(node uint32, id string)
}

// SetReporter sets the reporter. Without one, other nodes are not told what became of
// their messages. It is called before Start. The methods of r are called from one
// goroutine of the bus, and must not block.
func (n *Node) SetReporter(r Reporter) { n.reporter.set = r }

// NewID returns an id for a message (message.Message.ID) that is unique in the cluster.
func (n *Node) NewID() string { return n.ids.next() }

// reporterSeam is where the Reporter is kept, which may be nil.
type reporterSeam struct{ set Reporter } // not changed after Start

func (s *reporterSeam) received(m *message.Message) *message.Report {
	if s.set == nil {
		return nil
	}
	return s.set.Received(m.ID, m.Report.ReportRequest)
}

// ReportAsked implements ControlReceiver.
func (c *Control) ReportAsked(node uint32, id string) {
	if r := c.reporter; r != nil && r.set != nil {
		r.set.Asked(node, id)
	}
}

// lose says in the report of a message, if it has one, that no session gets it.
func lose(m *message.Message) {
	if m.Report != nil {
		m.Report.Lose()
	}
}

// A message that asks for reports has the header Belfry-Report:
//
//	<id of the node that awaits them> <for how many milliseconds> <0, or 1 with acknowledgements>
//
// Behind the message its node publishes an empty message on belfry.ctl.report with the
// message's Belfry-Id. It comes to every node, behind everything that comes to the node
// of the message, because all of it goes through one outbox, one connection and one
// receive channel. So a node to which the message did not come knows that, and says so.

// maxReportValue is the length of the longest value of Belfry-Report.
const maxReportValue = len("ffffffff 60000 1")

// maxReportWait is the longest time for which reports are awaited.
const maxReportWait = time.Minute

func formatReport(r *message.Report) string {
	ack := 0
	if r.Ack {
		ack = 1
	}
	ms := min((r.Wait+time.Millisecond-1)/time.Millisecond, maxReportWait/time.Millisecond)
	return fmt.Sprintf("%s %d %d", nodeString(r.Node), ms, ack)
}

// reportOf returns the report that a message asks for, nil if it asks for none. Only
// nodes may ask.
func reportOf(h nats.Header, fromNode bool) (*message.Report, error) {
	value, given, err := one(h, headerReport)
	if err != nil || !given {
		return nil, err
	}
	if !fromNode {
		return nil, bad(headerReport, "only nodes can await reports; push over the HTTP API with ?wait=")
	}
	f := strings.Split(value, " ")
	if len(f) != 3 || f[2] != "0" && f[2] != "1" {
		return nil, bad(headerReport, "allowed is: node milliseconds 0 or 1")
	}
	q := message.ReportRequest{Ack: f[2] == "1"}
	var ok bool
	if q.Node, ok = parseNode(f[0]); !ok {
		return nil, bad(headerReport, "a node is 8 lower-case hexadecimal digits")
	}
	ms, err := strconv.ParseUint(f[1], 10, 32)
	q.Wait = time.Duration(ms) * time.Millisecond
	if err != nil || ms < 1 || q.Wait > maxReportWait || f[1][0] == '0' {
		return nil, bad(headerReport, fmt.Sprintf("allowed are 1 to %d milliseconds", maxReportWait/time.Millisecond))
	}
	return message.NewReport(q, nil), nil
}

// encodeReport returns the message on belfry.ctl.report.
func encodeReport(m *message.Message, st stamp) *nats.Msg {
	return &nats.Msg{Subject: subjectReport, Header: nats.Header{
		headerID:   {m.ID},
		headerNode: {nodeString(st.node)},
		headerSeq:  {formatSeq(st.epoch, st.number)},
	}}
}

// report reads a message on belfry.ctl.report.
func (d *decoder) report(m *nats.Msg) (node uint32, id string, err error) {
	st, numbered, err := d.stamp(m)
	if err != nil {
		return 0, "", err
	}
	if !numbered {
		return 0, "", bad(headerNode, "missing; only nodes can ask for reports")
	}
	id, given, err := one(m.Header, headerID)
	if err == nil && !given {
		err = bad(headerID, "missing")
	}
	return st.node, id, err
}
