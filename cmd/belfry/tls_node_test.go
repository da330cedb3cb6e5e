package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"belfry/certs/certtest"
)

// secureNode is a node in a process of its own, with TLS for clients and for the
// API, from the same files.
type secureNode struct {
	*scriptNode
	readyLine
	t         *testing.T
	ca        *certtest.CA
	dir, file string // of the CA
	client    *http.Client
}

func startSecureNode(t *testing.T, flags ...string) *secureNode {
	t.Helper()
	n := &secureNode{t: t, ca: certtest.NewCA(t), dir: t.TempDir()}
	n.file = n.ca.Write(n.dir)
	cert, key := n.ca.WritePair(n.dir, "127.0.0.1")
	args := ownPorts(append([]string{"--dev", "--node-name", "n1", "--set", "tls.cert=" + cert, "--set", "tls.key=" + key,
		"--set", "api.tls.cert=" + cert, "--set", "api.tls.key=" + key}, flags...))
	var err error
	if n.scriptNode, err = launch(n.dir, filepath.Join(n.dir, "n1.log"), os.Environ(), args); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("log:\n%s", strings.Join(n.lines, "\n"))
		}
	})
	if n.readyLine, err = n.ready(); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: n.ca.Client(), DisableKeepAlives: true}
	n.client = &http.Client{Transport: transport, Timeout: time.Minute}
	return n
}

// get returns the answer of the API to a GET.
func (n *secureNode) get(path string) string {
	n.t.Helper()
	resp, err := n.client.Get("https://" + n.API + path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		n.t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(text)
}

func (n *secureNode) metric(series string) string {
	n.t.Helper()
	_, rest, found := strings.Cut(n.get("/metrics"), "\n"+series+" ")
	if !found {
		n.t.Fatalf("no metric %s", series)
	}
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

func (n *secureNode) dial(path string) *websocket.Conn {
	n.t.Helper()
	c, _, err := (&websocket.Dialer{TLSClientConfig: n.ca.Client()}).Dial("wss://"+n.TLS[0]+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	return c
}

// A node whose clients and API speak TLS: the commands know it, a new certificate
// is taken over while a client is connected, and at the end the client gets a close
// frame.
func TestTLSNode(t *testing.T) {
	n := startSecureNode(t)
	if len(n.Listen) != 0 || len(n.TLS) != 1 {
		t.Fatalf("%+v", n.readyLine)
	}
	before := n.dial("/ws?topic=news&uid=u1")
	listen := exec.Command("belfry", "listen", "--url", "wss://"+n.TLS[0]+"/ws", "--topic", "news", "--count", "1", "--ca", n.file)
	out, err := listen.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listen.Start(); err != nil {
		t.Fatal(err)
	}
	soon(t, "the second session", func() bool { return n.metric("belfry_sessions") == "2" })
	push := exec.Command("belfry", "push", "topic", "news", "hello", "--api", "https://"+n.API, "--ca", n.file)
	if text, err := push.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if text, err := io.ReadAll(out); err != nil || string(text) != "hello\n" {
		t.Errorf("belfry listen: %q, %v", text, err)
	}
	if err := listen.Wait(); err != nil {
		t.Error(err)
	}
	if _, p, err := before.ReadMessage(); err != nil || string(p) != "hello" {
		t.Errorf("%q, %v", p, err)
	}
	if text, err := exec.Command("belfry", "push", "all", "x", "--api", "https://"+n.API).CombinedOutput(); err == nil || !strings.Contains(string(text), "--ca") {
		t.Errorf("without the CA: %v, %s", err, text)
	}
	if page := n.get("/"); !strings.Contains(page, "&#34;tls&#34;:true") {
		t.Errorf("the page does not know that clients speak TLS: %s", page)
	}

	n.rotate(before)
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, _, err := before.ReadMessage(); !websocket.IsCloseError(err, 1001) {
		t.Errorf("%v", err)
	}
	before.Close()
	<-n.done
	if n.err != nil {
		t.Error(n.err)
	}
	for _, line := range n.lines {
		if strings.Contains(line, "PRIVATE KEY") || strings.Contains(line, "cut off") {
			t.Error(line)
		}
	}
}

// rotate replaces the certificate of a node. A client that is connected stays, and a
// new one sees the new certificate.
func (n *secureNode) rotate(before *websocket.Conn) {
	t := n.t
	t.Helper()
	n.ca.WritePair(n.dir, "127.0.0.1") // the same files
	was := before.NetConn().(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber
	soon(t, "the new certificate", func() bool { return n.metric(`belfry_tls_certificate_reloads_total{result="ok"}`) == "2" })
	after := n.dial("/ws?topic=news").NetConn().(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber
	if was.Cmp(after) == 0 {
		t.Error("a new client sees the old certificate")
	}
	if n.metric("belfry_tls_connections") != "2" {
		t.Error("a client was disconnected")
	}
}

// Some addresses may speak TLS and others not.
func TestTLSListen(t *testing.T) {
	n := startSecureNode(t, "--listen", "127.0.0.1:0,127.0.0.2:0", "--set", "tls.listen=127.0.0.2:0")
	if len(n.Listen) != 1 || len(n.TLS) != 1 || !strings.HasPrefix(n.TLS[0], "127.0.0.2:") {
		t.Fatalf("%+v", n.readyLine)
	}
	plain, _, err := websocket.DefaultDialer.Dial("ws://"+n.Listen[0]+"/ws?topic=news", nil)
	if err != nil {
		t.Fatal(err)
	}
	plain.Close()
	c, _, err := (&websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: n.ca.Pool(), ServerName: "127.0.0.1"}}).Dial("wss://"+n.TLS[0]+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A node with certificates that cannot be used does not start, and says why.
func TestTLSRefused(t *testing.T) {
	dir := t.TempDir()
	cert, key := certtest.NewCA(t).WritePair(dir, "127.0.0.1")
	for _, tc := range [][]string{
		{"tls.cert=" + cert, "tls.key=" + cert, "tls: " + cert},
		{"api.tls.cert=" + dir + "/none", "api.tls.key=" + key, "none: no such file"},
		{"tls.cert=" + cert, "log.level=info", "belong together"},
	} {
		c := exec.Command("belfry", append([]string{"serve"}, ownPorts([]string{"--set", tc[0], "--set", tc[1]})...)...)
		text, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(text), tc[2]) {
			t.Errorf("%q: %v: %s", tc, err, text)
		}
	}
	c := exec.Command("belfry", "doctor", "--set", "tls.cert="+cert, "--set", "tls.key="+key, "--connections", "10")
	text, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(text), "WARN  certificate "+cert) && !strings.Contains(string(text), "warn  certificate "+cert) {
		t.Errorf("%v: %s", err, text)
	}
}
