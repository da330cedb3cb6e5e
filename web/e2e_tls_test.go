//go:build e2e

package web

import (
	"path/filepath"
	"testing"

	"belfry/certs/certtest"
)

// startSecureNode starts a node whose clients speak TLS, and returns the file of the
// CA of its certificate.
func startSecureNode(t *testing.T) (n *node, ca string) {
	t.Helper()
	authority, dir := certtest.NewCA(t), t.TempDir()
	cert, key := authority.WritePair(dir, "127.0.0.1")
	authority.Write(dir)
	return startNode(t, "--set", "tls.cert="+cert, "--set", "tls.key="+key), filepath.Join(dir, "ca.pem")
}

// The npm package ws over wss: whatever it sends comes back, and it gets pushes.
func TestE2ENodeWSOverTLS(t *testing.T) {
	dir := npmFolder(t, "ws.mjs", "ws@"+wsVersion)
	n, ca := startSecureNode(t)
	t.Setenv("NODE_EXTRA_CA_CERTS", ca)
	c := startProgram(t, dir, "node", "ws.mjs", "wss://"+n.listen+"/echo", `{}`, "echo")
	c.want(`["extensions",`+quote(accepted)+`]`, `["echoed",22]`, `["close",1000]`)
	if err := <-c.ended; err != nil {
		t.Errorf("node: %v", err)
	}
	c = startProgram(t, dir, "node", "ws.mjs", "wss://"+n.listen+"/ws?topic=news", `false`, "listen")
	c.want(`["extensions",""]`)
	n.push(t, "/v1/topics/news", "text/plain", "hello")
	c.want(received("text", "hello"))
}

// curl shows an event stream over https, and each event at once.
func TestE2ECurlOverTLS(t *testing.T) {
	n, ca := startSecureNode(t)
	c := startProgram(t, "", "curl", "--silent", "--show-error", "-N", "--cacert", ca, "https://"+n.listen+"/sse?topic=news")
	c.want("retry: 3000", "")
	n.push(t, "/v1/topics/news", "text/plain", "hello")
	c.await("data: hello")
}
