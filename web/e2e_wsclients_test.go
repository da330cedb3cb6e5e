//go:build e2e

package web

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// wsVersion is the version of the npm package ws.
const wsVersion = "8.23.0"

// accepted is the answer to an offer of permessage-deflate.
const accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// offers are options of permessage-deflate of the package ws, and the server's
// answer to the offer that they make.
var offers = []struct{ name, options, answer string }{
	{"default", `{}`, accepted}, // offers client_max_window_bits
	{"everything compressed", `{"threshold":0}`, accepted},
	{"without context", `{"serverNoContextTakeover":true,"clientNoContextTakeover":true,"threshold":0}`, accepted},
	{"small window of the client", `{"clientMaxWindowBits":9,"threshold":0}`, accepted},
	{"largest window of the server", `{"serverMaxWindowBits":15,"threshold":0}`, accepted + "; server_max_window_bits=15"},
	{"small window of the server", `{"serverMaxWindowBits":10}`, ""},
	{"off", `false`, ""},
}

// The npm package ws, which most Node.js programs use: whatever it sends comes back
// from /echo, whole or in fragments, with and without compression.
func TestE2ENodeWSEcho(t *testing.T) {
	dir := npmFolder(t, "ws.mjs", "ws@"+wsVersion)
	for _, offer := range offers {
		t.Run(offer.name, func(t *testing.T) {
			n := startNode(t)
			c := startProgram(t, dir, "node", "ws.mjs", "ws://"+n.listen+"/echo", offer.options, "echo")
			c.want(`["extensions",`+quote(offer.answer)+`]`, `["echoed",22]`, `["close",1000]`)
			if err := <-c.ended; err != nil {
				t.Errorf("node: %v", err)
			}
			in, out := n.deflated(t, "in"), n.deflated(t, "out")
			if deflate := offer.answer != ""; (in > 5) != deflate || (out > 5) != deflate {
				t.Errorf("%d messages were inflated, %d compressed; negotiated: %v", in, out, deflate)
			}
		})
	}
}

// The same client gets pushes: compressed, too small to be compressed, and such
// that do not become smaller.
func TestE2ENodeWSPushes(t *testing.T) {
	dir := npmFolder(t, "ws.mjs", "ws@"+wsVersion)
	noise := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for _, offer := range offers {
		t.Run(offer.name, func(t *testing.T) {
			n := startNode(t)
			c := startProgram(t, dir, "node", "ws.mjs", "ws://"+n.listen+"/ws?topic=news", offer.options, "listen")
			c.want(`["extensions",` + quote(offer.answer) + `]`)
			for _, payload := range []string{"", "hi", strings.Repeat("grüße ", 1000), strings.Repeat("x", 64<<10), strings.Repeat("grüße ", 1000)} {
				n.push(t, "/v1/topics/news", "text/plain", payload)
				c.want(received("text", payload))
			}
			for _, payload := range []string{"\xff", string(noise), string(bytes.Repeat(noise[:100], 600))} {
				n.push(t, "/v1/topics/news", "application/octet-stream", payload)
				c.want(received("binary", payload))
			}
			want := 4
			if offer.answer == "" {
				want = 0
			}
			if got := n.deflated(t, "out"); got != want {
				t.Errorf("%d messages were compressed, want %d", got, want)
			}
			n.stop(t, syscall.SIGTERM)
			c.want(`["close",1001]`)
		})
	}
}

// received is the line that ws.mjs prints for a message.
func received(kind, payload string) string {
	return fmt.Sprintf(`["%s",%d,"%x"]`, kind, len(payload), sha256.Sum256([]byte(payload)))
}

// deflated returns how many messages the node has compressed ("out") or inflated
// ("in").
func (n *node) deflated(t *testing.T, direction string) int {
	t.Helper()
	resp, err := http.Get(n.api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^belfry_deflate_messages_total\{direction="` + direction + `"\} (\d+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no count of compressed messages in %.300s", text)
	}
	count, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return count
}
