// Package events publishes what happens to sessions and users on the bus, for programs
// that keep a table of their own. docs/events.md specifies the messages.
//
// Shards and the directory hand events over and never wait: an event for which there is
// no room is dropped and counted. One goroutine writes them as CloudEvents and publishes
// them, in the order in which they came.
package events
