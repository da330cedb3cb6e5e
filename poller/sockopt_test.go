package poller

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// without is a kernel that lacks some socket options.
func without(lacking ...int) func(fd, level, opt, value int) error {
	return func(fd, level, opt, value int) error {
		for _, l := range lacking {
			if l == opt && level == unix.IPPROTO_TCP {
				return syscall.ENOPROTOOPT
			}
		}
		return unix.SetsockoptInt(fd, level, opt, value)
	}
}

// warnings returns the warnings of a loop about the kernel's socket options, after
// the loop has served a connection.
func warnings(t *testing.T, set func(fd, level, opt, value int) error) []observer.LoggedEntry {
	t.Helper()
	core, logs := observer.New(zapcore.WarnLevel)
	r := newRig(t, Options{Shards: 2, Listen: []PortRange{{Host: "127.0.0.1"}, {Host: "127.0.0.1"}}, Log: zap.New(core), setsockopt: set}, nil)
	for _, a := range r.Addrs() {
		c, err := net.Dial("tcp", a.String())
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "over "+a.String())
		c.Close()
	}
	return logs.FilterMessageSnippet("socket options").All()
}

func TestListenWithoutSocketOptions(t *testing.T) {
	if all := warnings(t, nil); len(all) != 0 {
		t.Errorf("a kernel that has all: %v", all)
	}
	for _, m := range optionalSockopts {
		all := warnings(t, without(m.opt))
		if len(all) != 1 || all[0].ContextMap()["options"] != m.name || all[0].ContextMap()["effect"] != m.costs {
			t.Errorf("without %s: %v", m.name, all)
		}
	}
	all := warnings(t, without(unix.TCP_DEFER_ACCEPT, unix.TCP_NOTSENT_LOWAT, unix.TCP_USER_TIMEOUT))
	if len(all) != 1 || all[0].ContextMap()["options"] != "TCP_NOTSENT_LOWAT, TCP_USER_TIMEOUT, TCP_DEFER_ACCEPT" {
		t.Errorf("without three: %v", all)
	}
}

// An option that listeners need is named when it cannot be set.
func TestListenNeeds(t *testing.T) {
	_, err := New(Options{NewHandler: func(*Shard) Handler { return nil }, Listen: []PortRange{{Host: "127.0.0.1"}},
		setsockopt: func(fd, level, opt, value int) error {
			if opt == unix.SO_REUSEPORT && level == unix.SOL_SOCKET {
				return syscall.EINVAL
			}
			return unix.SetsockoptInt(fd, level, opt, value)
		}})
	if err == nil || !strings.Contains(err.Error(), "SO_REUSEPORT") {
		t.Errorf("got %v", err)
	}
}

// A kernel's own Multipath TCP socket lacks some options, depending on its version.
func TestOptionsOfMultipathTCP(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		t.Skipf("no Multipath TCP here: %v", err)
	}
	defer unix.Close(fd)
	core, logs := observer.New(zapcore.WarnLevel)
	o := Options{Log: zap.New(core), NewHandler: func(*Shard) Handler { return nil }}
	if err := o.fill(); err != nil {
		t.Fatal(err)
	}
	l := &Loop{opt: o}
	l.setOptional(fd)
	l.logMissing()
	lacking := 0
	for i, m := range optionalSockopts {
		if failed := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, m.opt, m.value(&o)) != nil; failed != (l.missing[i] != nil) {
			t.Errorf("%s: failed %v, noted %v", m.name, failed, l.missing[i])
		} else if failed {
			lacking++
		}
	}
	t.Logf("lacks %v", l.missing)
	if want := min(lacking, 1); logs.Len() != want {
		t.Errorf("%d warnings for %d options", logs.Len(), lacking)
	}
}
