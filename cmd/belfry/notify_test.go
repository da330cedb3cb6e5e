package main

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A service manager is told when the node is ready, which process is the service after a
// hot restart, and when it stops (man 3 sd_notify).
func TestServiceManager(t *testing.T) {
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	told := make(chan string, 16)
	go func() {
		p := make([]byte, 4096)
		for {
			n, err := manager.Read(p)
			if err != nil {
				return
			}
			told <- string(p[:n])
		}
	}()
	until := func(what string) {
		t.Helper()
		var all []string
		for limit := time.After(waitLimit); ; {
			select {
			case states := <-told:
				if all = append(all, states); strings.Contains("\n"+states+"\n", "\n"+what+"\n") {
					return
				}
			case <-limit:
				t.Fatalf("not told %q, but %q", what, all)
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	socket := filepath.Join(dir, "control.sock")
	n := startClusterNode(t, "noted", "--set", "control.socket="+socket)
	until("READY=1")
	was := n.pid()
	if out, err := exec.Command("belfry", "restart", "--control", socket).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	soon(t, "the successor has the control socket", func() bool { return n.pid() != was })
	until(fmt.Sprintf("MAINPID=%d", n.pid()))
	if err := n.signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until("RELOADING=1")
	until("READY=1")
	if err := n.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until("STOPPING=1")
	<-n.done
}
