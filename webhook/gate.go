package webhook

// Gate bounds how many goroutines that call backends compute at a time: its
// capacity is the number of places. The Go scheduler is first come, first served.
// Without the gate a shard that wakes up would wait for a thousand calls that time
// out together. A goroutine has a place while it computes and none while it waits
// for a backend. It must not wait for anything else with a place. A nil gate is
// always open.
type Gate chan struct{}

// Enter waits for a place. Goroutines get places in the order in which they asked.
func (g Gate) Enter() {
	if g != nil {
		g <- struct{}{}
	}
}

// Leave gives the place back.
func (g Gate) Leave() {
	if g != nil {
		<-g
	}
}
