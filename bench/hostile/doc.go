// Package hostile measures the effect of hostile clients on other clients.
//
// It starts belfry nodes on loopback. The first has a witness: two users, one
// on each shard, who get a push every 5 ms. The second is the control: the same
// attack runs there first, on the same processors but in another process. This
// shows what the attack costs the machine, apart from what it costs the node's
// own clients. Then the attack runs on the witness's node. Meanwhile strangers
// connect, /healthz is requested, and memory and metrics are read.
//
// Attackers are separate processes under SCHED_IDLE (man 7 sched). They
// represent clients on other machines and take no processor time that a node
// needs. An attacker process is one thread with an epoll set and buffers that
// are made beforehand.
package hostile
