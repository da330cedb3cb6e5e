package handover

// Step is a point in the course of one side. A test can stop, kill or refuse there.
type Step string

// Steps of the old process.
const (
	OldHello   Step = "old: the hello has been read"
	OldInherit Step = "old: the inheritance has been sent"
	OldReady   Step = "old: the successor is ready"
	OldBatch   Step = "old: a batch has been sent"
	OldAck     Step = "old: a batch has been acknowledged"
	OldEmpty   Step = "old: what can move has moved"
	OldOverlap Step = "old: the successor has joined the bus"
	OldFinish  Step = "old: all sessions have moved"
	OldExport  Step = "old: the node's state has been sent"
	OldPrepare Step = "old: the successor is prepared"
	OldCommit  Step = "old: the commit has been sent"
	OldServed  Step = "old: the successor serves"
)

// Steps of the successor.
const (
	NewDial     Step = "successor: connected"
	NewInherit  Step = "successor: the inheritance has been read"
	NewOpen     Step = "successor: everything is open"
	NewReady    Step = "successor: it has said ready"
	NewBatch    Step = "successor: a batch has been read"
	NewImported Step = "successor: a batch is served"
	NewMessage  Step = "successor: a message has been read"
	NewOverlap  Step = "successor: it has joined the bus"
	NewHeritage Step = "successor: the node's state has been read"
	NewPrepared Step = "successor: it has said prepared"
	NewCommit   Step = "successor: the commit has been read"
	NewServe    Step = "successor: it serves"
)

// Steps are all of them, in the order of the course.
var Steps = []Step{OldHello, OldInherit, OldReady, OldBatch, OldAck, OldEmpty, OldOverlap, OldFinish, OldExport, OldPrepare, OldCommit, OldServed,
	NewDial, NewInherit, NewOpen, NewReady, NewBatch, NewImported, NewMessage, NewOverlap, NewHeritage, NewPrepared, NewCommit, NewServe}

// Fault is called at each step, if it is set. Its error is taken for a failure there.
type Fault func(Step) error

func (f Fault) at(s Step) error {
	if f == nil {
		return nil
	}
	return f(s)
}
