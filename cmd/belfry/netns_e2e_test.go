//go:build e2e

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace, which stands for a host.
type namespace struct {
	t    *testing.T
	name string
}

func newNamespace(t *testing.T, name string) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	n := &namespace{t, fmt.Sprintf("belfry-%d-%s", os.Getpid(), name)}
	if out, err := exec.Command("ip", "netns", "add", n.name).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", n.name).Run() })
	n.ip("link set lo up")
	return n
}

// ip runs the command ip inside.
func (n *namespace) ip(format string, args ...any) {
	n.t.Helper()
	full := append([]string{"-n", n.name}, strings.Fields(fmt.Sprintf(format, args...))...)
	if out, err := exec.Command("ip", full...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %v: %v %s", full, err, out)
	}
}

// serve starts a node inside.
func (n *namespace) serve(bin string, flags ...string) {
	n.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", n.name, bin, "serve", "--set", "max_connections=1000"}, flags...)...)
	cmd.Stdout, cmd.Stderr = n.t.Output(), n.t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig: the thread that starts the process must not be one that request ends
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); runtime.UnlockOSThread() })
}

// connect connects from inside.
func (n *namespace) connect(ctx context.Context, network, address string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() { // its thread is in the other namespace and ends with the goroutine
		defer close(done)
		runtime.LockOSThread()
		var ns *os.File
		if ns, err = os.Open("/run/netns/" + n.name); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			c, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
		}
	}()
	<-done
	return c, err
}

// request sends one request to an address inside and returns the whole answer,
// "" if there is none.
func (n *namespace) request(address, text string) (answer string) {
	n.t.Helper()
	c, err := n.connect(n.t.Context(), "tcp", address)
	if err != nil {
		return ""
	}
	defer c.Close()
	io.WriteString(c, text)
	body, _ := io.ReadAll(c)
	return string(body)
}

// host returns the namespace as the host of nodes.
func (n *namespace) host() *nodeHost {
	return &nodeHost{start: []string{"ip", "netns", "exec", n.name}, connect: n.connect,
		http: &http.Client{Transport: &http.Transport{DialContext: n.connect}}}
}

func (n *namespace) get(address, path string) string {
	return n.request(address, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

// Three hosts each listen at an address that differs from the one through which
// others reach them, and each knows only the route of the first. All find each
// other.
func TestE2EThreeHostsByOneRoute(t *testing.T) {
	bin := builtBinary(t)
	hub := newNamespace(t, "hub")
	hub.ip("link add br0 type bridge")
	hub.ip("link set br0 up")
	var hosts []*namespace
	for i := 1; i <= 3; i++ {
		h := newNamespace(t, fmt.Sprint("h", i))
		h.ip("link add eth0 type veth peer name p%d netns %s", i, hub.name)
		hub.ip("link set p%d master br0 up", i)
		h.ip("addr add 10.77.0.%d/24 dev eth0", i)
		h.ip("link set eth0 up")
		h.ip("addr add 10.78.0.%d/32 dev lo", i)
		for j := 1; j <= 3; j++ {
			if j != i {
				h.ip("route add 10.78.0.%d/32 via 10.77.0.%d src 10.77.0.%d", j, j, i)
			}
		}
		hosts = append(hosts, h)
	}
	const api = "127.0.0.1:8081"
	for i, h := range hosts {
		h.serve(bin, "--node-name", fmt.Sprint("h", i+1), "--api", api, "--nats-cluster-listen", fmt.Sprintf("10.78.0.%d:6222", i+1),
			"--nats-routes", "10.78.0.1:6222", "--set", "nats.cluster_user=belfry", "--set", "nats.cluster_password=secret",
			"--set", "nats.beacon=100ms")
	}
	for i, h := range hosts {
		soon(t, "both peers", func() bool {
			return strings.Contains(h.get(api, "/v1/stats"), `"peers":2,`)
		})
		if a := h.get(api, "/readyz"); !strings.Contains(a, `{"ready":true}`) {
			t.Errorf("h%d: %s", i+1, a)
		}
	}
	for _, h := range hosts {
		if a := h.request(api, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"); !strings.Contains(a, " 202 ") {
			t.Errorf("push: %s", a)
		}
	}
	for i, h := range hosts {
		soon(t, fmt.Sprintf("the messages of both others at h%d", i+1), func() bool {
			return strings.Contains(h.get(api, "/metrics"), "\nbelfry_bus_received_total 2\n")
		})
	}
}

// A host without IPv4, even on loopback.
func TestE2EHostWithoutIPv4(t *testing.T) {
	bin := builtBinary(t)
	h := newNamespace(t, "six")
	h.ip("addr del 127.0.0.1/8 dev lo")
	const api = "[::1]:8081"
	h.serve(bin, "--listen", "[::1]:8080", "--api", api, "--nats-cluster-listen", "[::1]:6222")
	soon(t, "ready", func() bool { return strings.Contains(h.get(api, "/readyz"), `{"ready":true}`) })
}

// builtBinary is the binary that BELFRY_BIN names, by default the one that make
// build makes.
func builtBinary(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("BELFRY_BIN")
	if bin == "" {
		bin = "../../bin/belfry"
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v; run make build first, or set BELFRY_BIN", err)
	}
	return bin
}
