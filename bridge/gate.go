package bridge

// gate bounds how many goroutines compute at a time. Its capacity is the number of
// places, and goroutines get them in the order in which they asked. A goroutine that
// has a place must not wait for anything else.
type gate chan struct{}

func (g gate) enter() { g <- struct{}{} }
func (g gate) leave() { <-g }
