//go:build e2e

package web

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// node is a belfry node that can be stopped and started at the same addresses.
type node struct {
	t           *testing.T // of the whole test, because the process outlives a step
	bin, listen string
	settings    []string // further flags of serve
	address     string   // of the API
	api         string   // its URL
	cmd         *exec.Cmd
	ended       chan error
}

// startNode starts the binary that BELFRY_BIN names, by default the one that
// make build makes. settings are further flags of serve.
func startNode(t *testing.T, settings ...string) *node {
	t.Helper()
	bin := os.Getenv("BELFRY_BIN")
	if bin == "" {
		bin = "../bin/belfry"
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v; run make build first, or set BELFRY_BIN", err)
	}
	n := &node{t: t, bin: bin, settings: settings, listen: freeAddress(t), address: freeAddress(t)}
	n.api = "http://" + n.address
	n.start(t)
	t.Cleanup(func() {
		if n.cmd != nil {
			n.stop(t, syscall.SIGKILL)
		}
	})
	return n
}

// freeAddress returns an address that is not in use at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 { // below the ephemeral range, whose ports may be taken before the node listens
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 12_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start runs the binary and waits until it is ready.
func (n *node) start(t *testing.T) {
	t.Helper()
	// Late enough that a test can reconnect earlier than advised.
	args := []string{"serve", "--dev", "--listen", n.listen, "--api", n.address, "--set", "shutdown.reconnect_after=20s"}
	n.cmd = exec.Command(n.bin, append(args, n.settings...)...)
	n.cmd.Stdout, n.cmd.Stderr = n.t.Output(), n.t.Output()
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, ended := n.cmd, make(chan error, 1)
	n.ended = ended
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(time.Minute)
	for {
		if resp, err := http.Get(n.api + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-n.ended:
			n.cmd = nil
			t.Fatalf("the node ended at once: %v", err)
		case <-deadline:
			t.Fatal("the node was not ready within 20 s")
		case <-time.After(50 * time.Millisecond): // before the next look
		}
	}
}

// stop ends the process and waits for that.
func (n *node) stop(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	select {
	case <-n.ended:
		n.cmd = nil
	case <-time.After(30 * time.Second):
		t.Fatalf("the node did not end within 30 s of %v", sig)
	}
}
