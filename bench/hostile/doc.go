// Package hostile measures what clients that do their worst cost the others.
//
// It starts nodes of a belfry on loopback. The first has a witness: two users,
// one on each shard, who get a push every 5 ms. The second is the control: the
// same attack runs there first, on the same processors and in another process,
// so that what the attack costs the machine is told apart from what it costs
// the node's own clients. Then the attack runs on the witness's node. Meanwhile
// strangers connect, /healthz is asked, and memory and metrics are read.
//
// Attackers are processes of their own under SCHED_IDLE (man 7 sched): they
// stand for clients on other machines and take no processor time from a node
// that wants it. One attacker process is one thread with an epoll set and
// buffers made beforehand.
package hostile
