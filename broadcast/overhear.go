package broadcast

// overhearRelays subscribes to the relays to all homes, or ends the subscription.
// Relays that were under way then come as copies.
func (i *interest) overhearRelays(on bool) {
	i.mu.Lock()
	i.overhear = on
	i.mu.Unlock()
	wakeUp(i.wake)
}

// joinRelays does what overhearRelays asked for. It returns true if there is a new
// subscription, which needs a flush.
func (i *interest) joinRelays() (subscribed bool) {
	i.mu.Lock()
	on := i.overhear
	i.mu.Unlock()
	switch {
	case on && i.relays == nil:
		i.relays = i.subscribe(subjectRelays)
		return i.relays != nil
	case !on && i.relays != nil:
		i.unsubscribe(i.relays)
		i.relays = nil
	}
	return false
}

// overhears tells the router that all relays reach this node.
func (b *NATS) overhears() {
	if r := b.router.Load(); r != nil {
		(*r).Overhears()
	}
}
