package bench

import "encoding/json"

// The control protocol: the figures program writes one Command a line, as JSON,
// to the standard input of a client or floor process and reads Replies with the
// same ID from its standard output. The end of the input ends the process, so
// that it ends with the figures program.

// Operations of commands. One with a delayed answer does not delay the commands
// after it.
const (
	OpDial  = "dial"  // client: make connections; answered when every attempt has ended
	OpWait  = "wait"  // client: answered when so many messages have arrived in all
	OpStats = "stats" // client: the counters
	OpMark  = "mark"  // client: begin a measurement, see Client.Mark
	OpEcho  = "echo"  // client: send messages that come back; answered when it is over
	OpSlow  = "slow"  // client: a share of the connections stops reading
	OpRead  = "read"  // client: these read again
	OpDrop  = "drop"  // client, floor: close every connection
	OpSend  = "send"  // floor: one frame to every socket; answered when all were written
	OpCount = "count" // floor: the number of its sockets
)

// Command is a request to a process.
type Command struct {
	ID    uint64  `json:"id"`
	Op    string  `json:"op"`
	Dial  *Dial   `json:"dial,omitempty"`
	Wait  *Wait   `json:"wait,omitempty"`
	Next  uint32  `json:"next,omitempty"`  // of OpStats: the broadcast number after the last one sent
	Brief bool    `json:"brief,omitempty"` // of OpStats: see Client.Counters
	Send  *Send   `json:"send,omitempty"`
	Echo  *Echo   `json:"echo,omitempty"`
	Slow  float64 `json:"slow,omitempty"` // of OpSlow: the share, above 0 to 1

	Detail json.RawMessage `json:"detail,omitempty"` // of an operation that another package's process knows
}

// Wait is answered when the client has received Until messages of a stream
// since it started, even if they arrived before the command.
type Wait struct {
	Stream  Stream `json:"stream"`
	Until   uint64 `json:"until"`
	Timeout int64  `json:"timeout_ns"`
}

// Send asks the floor for one broadcast.
type Send struct {
	Seq     uint32 `json:"seq"`
	Size    int    `json:"size"`    // of the payload, in bytes
	Threads int    `json:"threads"` // threads that share the sockets, from 1 to all of the floor
	Stamp   int64  `json:"stamp"`   // of the message; 0 is when the first write(2) begins
}

// Sent is the result of a Send.
type Sent struct {
	Written int   `json:"written"`
	Failed  int   `json:"failed"`
	Start   int64 `json:"start"` // stamp before the first write(2)
	End     int64 `json:"end"`   // stamp after the last
	CPU     int64 `json:"cpu"`   // of the whole process so far, by getrusage(2), in ns
}

// Reply answers a Command; besides ID, what it holds depends on the Op. Error
// is "" if the command was carried out.
type Reply struct {
	ID     uint64  `json:"id"`
	Error  string  `json:"error,omitempty"`
	Dialed *Dialed `json:"dialed,omitempty"`
	At     int64   `json:"at,omitempty"` // of OpWait: stamp of the latest receipt
	Stats  *Stats  `json:"stats,omitempty"`
	Sent   *Sent   `json:"sent,omitempty"`
	Echoed *Echoed `json:"echoed,omitempty"`
	Count  int     `json:"count,omitempty"` // of OpCount, OpSlow and OpRead: of connections

	Detail json.RawMessage `json:"detail,omitempty"` // of an operation that another package's process knows
}
