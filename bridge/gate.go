package bridge

// gate bounds how many goroutines compute at a time. Its capacity is the number of
// places, and goroutines get them in the order in which they asked. A goroutine that
// has a place must not wait for anything else.
//
// A handshake computes some hundred times as long as a record, and in a storm
// thousands of them wait. So a handshake passes a gate of handshakes first, which is
// as wide as the one of all: there a worker waits behind few handshakes only.
type gate chan struct{}

func (g gate) enter() { g <- struct{}{} }
func (g gate) leave() { <-g }
