package session

import (
	"slices"

	"belfry/poller"
)

// smallTarget is up to how many sessions a message to topics or users is sent to
// at once. Beyond it waits for a fan-out run.
const smallTarget = 64

// sendToTopics sends a message to the members of topics: at once if they are few
// and no message to one of the topics waits, else in a fan-out run.
func (ds *dispatcher) sendToTopics(d *Delivery) (sent int, isQueued bool) {
	q := fanoutItem{d: d, queue: poller.QueueBulk}
	members, waiting := 0, false
	for _, topicName := range d.Message.Target.Names {
		t, ok := ds.topics.find(topicName)
		if !ok || slices.Contains(q.topics, t) {
			continue
		}
		q.topics = append(q.topics, t)
		members += ds.topics.at(t).members.Len()
		waiting = waiting || ds.topics.at(t).queued > 0
	}
	if members > smallTarget || waiting {
		for _, t := range q.topics {
			ds.topics.at(t).queued++
		}
		ds.fanout.add(q)
		return 0, true
	}
	return ds.sendToMembers(d, q.topics), false
}

// sendToMembers sends a message to the members of topics, once to each. There are
// at most smallTarget of them.
func (ds *dispatcher) sendToMembers(d *Delivery, topics []uint32) (sent int) {
	var slots [smallTarget]uint32
	n := 0
	for _, t := range topics {
		for _, slot := range ds.topics.slots(t) {
			if len(topics) == 1 || !slices.Contains(slots[:n], slot) {
				slots[n] = slot
				n++
			}
		}
	}
	for _, slot := range slots[:n] {
		if ds.rec(slot).flags&flagLeaving == 0 {
			sent += ds.route(slot, d)
		}
	}
	return sent
}

// sendToUsers sends a message to the sessions of users: at once if they are few
// and no message to one of the users waits, else in a fan-out run.
func (ds *dispatcher) sendToUsers(d *Delivery) (sent int, isQueued bool) {
	var slots [smallTarget]uint32
	var many []poller.ID
	n, waiting := 0, false
	names := d.Message.Target.Names
	for i, at := range d.homes {
		if at.shard != ds.index || slices.Contains(names[:i], names[i]) {
			continue
		}
		waiting = waiting || ds.fanout.hasUser(at.hash)
		slot, ok := ds.users.find(at.hash, []byte(names[i]))
		for ok {
			switch older := ds.rec(slot).older; {
			case many == nil && n < smallTarget:
				slots[n] = slot
				n++
				slot, ok = older-1, older != 0
			case many == nil:
				if list := ds.fanout.sameIDs(d, ds.users.changed); list != nil {
					return 0, ds.addUserFanout(d, list)
				}
				many = ds.idsOf(slots[:])
			default:
				many = ds.appendOpen(many, slot)
				slot, ok = older-1, older != 0
			}
		}
	}
	if many == nil && waiting {
		many = ds.idsOf(slots[:n])
	}
	if many != nil {
		return 0, ds.addUserFanout(d, many)
	}
	for _, slot := range slots[:n] {
		sent += ds.route(slot, d)
	}
	return sent, false
}

// idsOf returns the ids of the open sessions among some slots.
func (ds *dispatcher) idsOf(slots []uint32) []poller.ID {
	ids := make([]poller.ID, 0, 2*len(slots))
	for _, slot := range slots {
		ids = ds.appendOpen(ids, slot)
	}
	return ids
}

// appendOpen appends the id of a session if it is open.
func (ds *dispatcher) appendOpen(ids []poller.ID, slot uint32) []poller.ID {
	if ds.rec(slot).state == stateOpen {
		ids = append(ids, ds.ps.ID(slot))
	}
	return ids
}

// addUserFanout queues a message to users for a fan-out run. The message then
// holds a place in the bulk queue, like every message for many. If the bulk queue
// is full it keeps its place in the single queue. With a place in the single queue
// for each, a few such messages would make pushes to other users wait.
func (ds *dispatcher) addUserFanout(d *Delivery, ids []poller.ID) (isQueued bool) {
	q := fanoutItem{d: d, ids: ids, changed: ds.users.changed, queue: poller.QueueBulk}
	for _, at := range d.homes {
		if at.shard == ds.index {
			q.users = append(q.users, at.hash)
		}
	}
	if !ds.ps.Reserve(poller.QueueBulk) {
		ds.ps.KeepPlace()
		q.queue = poller.QueueSingle
	}
	ds.srv.mailBytes.Add(q.listBytes())
	ds.fanout.add(q)
	return true
}
