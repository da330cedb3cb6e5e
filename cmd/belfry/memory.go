package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"go.uber.org/zap"

	"belfry/config"
	"belfry/host"
)

// queueBound is a setting that limits a queue of the node in bytes. If it is 0
// it gets a share of memory.
type queueBound struct {
	path  string
	value func(*config.Config) *config.Size
	part  int64                            // share of memory: one in so many
	least config.Size                      // bytes; below it a node does not work
	most  config.Size                      // bytes; more would only hide that something is too slow
	needs func(*config.Config) config.Size // bytes that other settings need
}

// queueBounds are the limits of all queues. Their shares are a third of memory
// together. Another third is for connections, most of it kernel memory, and the
// last for belfry itself, NATS, and garbage.
var queueBounds = [...]queueBound{
	{"backlog.node_bytes", func(c *config.Config) *config.Size { return &c.Backlog.NodeBytes }, 8, 8 * config.MiB, 256 * config.MiB,
		func(c *config.Config) config.Size { return c.Backlog.Bytes }},
	{"fanout.mailbox_bytes", func(c *config.Config) *config.Size { return &c.Fanout.MailboxBytes }, 16, 4 * config.MiB, 256 * config.MiB,
		func(c *config.Config) config.Size { return 2 * c.API.MaxPayload }},
	{"session.inbound_bytes", func(c *config.Config) *config.Size { return &c.Session.InboundBytes }, 16, 4 * config.MiB, 256 * config.MiB,
		func(c *config.Config) config.Size { return 2 * c.Session.MaxMessage }},
	{"nats.pending_bytes", func(c *config.Config) *config.Size { return &c.NATS.PendingBytes }, 16, 4 * config.MiB, 256 * config.MiB,
		func(c *config.Config) config.Size { return 2 * c.API.MaxPayload }},
	{"nats.outbox_bytes", func(c *config.Config) *config.Size { return &c.NATS.OutboxBytes }, 32, 2 * config.MiB, 64 * config.MiB,
		func(c *config.Config) config.Size { return 2 * (c.API.MaxPayload + config.EnvelopeRoom) }},
}

// share returns the limit on a machine with so many bytes of memory, in whole
// MiB; the most if the memory is not known.
func (b *queueBound) share(memory int64, c *config.Config) config.Size {
	size := b.most
	if memory > 0 {
		size = min(size, config.Size(memory/b.part)/config.MiB*config.MiB)
	}
	return max(size, b.least, b.needs(c))
}

// resolveMemory gives limits that are 0 their share.
func (m machine) resolveMemory(c *config.Config) {
	for i := range queueBounds {
		b := &queueBounds[i]
		if value := b.value(c); *value == 0 {
			*value = b.share(m.facts.Memory(), c)
		}
	}
}

// queueBytes returns how many bytes may wait in a node with resolved settings.
func queueBytes(c *config.Config) (sum int64) {
	for i := range queueBounds {
		sum += int64(*queueBounds[i].value(c))
	}
	return sum
}

// queuesFix returns the command that sets each limit above its share to its
// share.
func (m machine) queuesFix(c *config.Config) string {
	command := "belfry serve"
	for i := range queueBounds {
		b := &queueBounds[i]
		if share := b.share(m.facts.Memory(), c); *b.value(c) > share {
			command += fmt.Sprintf(" --set %s=%v", b.path, share)
		}
	}
	return command
}

// goMemory returns how many bytes the Go runtime may use before it collects
// more often: nine tenths of memory, less the memory of connections outside the
// heap (their records and the kernel's part), which counts up to a quarter. 0
// if memory is not known.
func goMemory(memory int64, connections int) int64 {
	return memory/10*9 - min(int64(connections)*(host.KernelBytes+host.UserBytes), memory/4)
}

// limitMemory sets the memory limit of the Go runtime, unless GOMEMLIMIT is
// set, and logs the limits in bytes.
func (m machine) limitMemory(c *config.Config, log *zap.Logger) {
	memory := m.facts.Memory()
	fields := []zap.Field{zap.Int64("memory", memory)}
	for i := range queueBounds {
		b := &queueBounds[i]
		fields = append(fields, zap.Stringer(b.path, *b.value(c)))
	}
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set && memory > 0 {
		debug.SetMemoryLimit(goMemory(memory, c.MaxConnections))
	}
	log.Info("memory", append(fields, zap.Int64("go_limit", debug.SetMemoryLimit(-1)))...)
	if f := host.Queues(&m.facts, m.want(c, 0)); f.Status != host.Pass {
		log.Warn("the queues' limits are more than half of the memory", zap.String("value", f.Value), zap.String("detail", f.Why), zap.String("fix", f.Fix))
	}
}
