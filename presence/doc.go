// Package presence answers who is online and who is subscribed to what, on all nodes: it
// asks the nodes concerned over broadcast.Control and puts their answers together. It
// keeps nothing itself. What this node has it reads through Local, so it knows nothing
// of shards.
//
// Lists are read in pages, in an order in which every item is a place: sessions in that
// of message.SID.Compare, topics by name. So a page can begin behind an item that does
// not exist any more, and an item that exists all the time is on exactly one page. A
// node answers with as many items as fit into a control message. The page then ends with
// the last item up to which the answers of all nodes are complete.
package presence
