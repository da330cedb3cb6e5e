package gateway

// cause says why an event was dropped, or a message refused. It is a label of
// metrics.
type cause uint8

const (
	causeNone     cause = iota
	causeNoRoute        // no route of the session takes the message
	causeQueue          // the queue of the route is full
	causeBytes          // Options.QueueBytes is reached
	causeSession        // too many events of one session wait
	causeFailed         // the call failed
	causeRefused        // the backend refused the event
	causeAnswer         // the answer was not valid
	causeOverload       // the session had no room for the answer
	causeFault          // a fault of belfry
	causeShutdown       // the node stops
	causes
)

var causeNames = [causes]string{"none", "no_route", "queue", "bytes", "session", "failed", "refused", "answer", "overload", "fault", "shutdown"}

// causeText is what a client is told.
var causeText = [causes]string{
	causeNoRoute:  "no route of the gateway takes this message",
	causeQueue:    "too many messages wait for the backend; try again",
	causeBytes:    "too many messages wait for backends; try again",
	causeFailed:   "the backend cannot be reached or has failed; try again",
	causeRefused:  "the backend has refused the message",
	causeAnswer:   "the answer of the backend was not valid",
	causeOverload: "the backend has answered, but the server has no room for the answer",
	causeFault:    "a fault of the server; its log says more",
	causeShutdown: "the server is going away",
}
