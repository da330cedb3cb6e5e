//go:build e2e

package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vector is a request that a backend may get. The headers have names in lower case.
type vector struct {
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"` // base64
	Key     string            `json:"key"`
	Now     int64             `json:"now"` // Unix seconds
	valid   bool
	name    string
}

func vectors(t *testing.T) (all []vector) {
	const now = 1_800_000_000
	one, two := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	body := []byte("{\"text\": \"Zoë\"}\n\x00\xff")
	add := func(name string, valid bool, change func(*vector)) {
		v := vector{Key: "whsec_" + base64.StdEncoding.EncodeToString(one), Now: now, Body: base64.StdEncoding.EncodeToString(body), valid: valid, name: name,
			Headers: map[string]string{"webhook-id": "a:1", "webhook-timestamp": strconv.Itoa(now), "webhook-signature": Sign([]Key{{two}, {one}}, "a:1", time.Unix(now, 0), body)}}
		change(&v)
		all = append(all, v)
	}
	add("valid", true, func(v *vector) {})
	add("a key without its prefix", true, func(v *vector) { v.Key = strings.TrimPrefix(v.Key, "whsec_") })
	add("just in time", true, func(v *vector) { v.Now += 300 })
	add("too late", false, func(v *vector) { v.Now += 301 })
	add("too early", false, func(v *vector) { v.Now -= 301 })
	add("another body", false, func(v *vector) { v.Body = base64.StdEncoding.EncodeToString([]byte("other")) })
	add("another key", false, func(v *vector) { v.Key = "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)) })
	add("another id", false, func(v *vector) { v.Headers["webhook-id"] = "a:2" })
	add("another time", false, func(v *vector) { v.Headers["webhook-timestamp"] = strconv.Itoa(now + 1) })
	add("no time", false, func(v *vector) { delete(v.Headers, "webhook-timestamp") })
	add("a time that is none", false, func(v *vector) { v.Headers["webhook-timestamp"] = "now" })
	add("no signature", false, func(v *vector) { delete(v.Headers, "webhook-signature") })
	add("another version", false, func(v *vector) {
		v.Headers["webhook-signature"] = strings.ReplaceAll(v.Headers["webhook-signature"], "v1,", "v1a,")
	})
	return all
}

// drivers make a program of each snippet: it reads the vectors and prints a list of
// true and false.
var drivers = map[string]struct {
	file, before, after string
	command             []string
}{
	"go": {"main.go", `package main

import ("crypto/hmac"; "crypto/sha256"; "encoding/base64"; "encoding/json"; "net/http"; "os"; "strconv"; "strings"; "time")

`, `
func main() {
	var all []struct { Headers map[string]string; Body []byte; Key string; Now int64 }
	if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil { panic(err) }
	results := []bool{}
	for _, v := range all {
		h := http.Header{}
		for name, value := range v.Headers { h.Set(name, value) }
		results = append(results, verify(h, v.Body, v.Key, time.Unix(v.Now, 0)))
	}
	json.NewEncoder(os.Stdout).Encode(results)
}
`, []string{"go", "run"}},
	"node": {"main.js", "", `
const all = JSON.parse(require('node:fs').readFileSync(0, 'utf8'))
console.log(JSON.stringify(all.map(v => verify(v.headers, Buffer.from(v.body, 'base64'), v.key, v.now * 1000))))
`, []string{"node"}},
	"python": {"main.py", "", `
import json, sys
print(json.dumps([verify(v["headers"], base64.b64decode(v["body"]), v["key"], v["now"]) for v in json.load(sys.stdin)]))
`, []string{"python3"}},
}

// The snippets of docs/webhooks.md verify what belfry signs.
func TestE2ESnippets(t *testing.T) {
	page, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	all := vectors(t)
	input, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range drivers {
		if _, err := exec.LookPath(d.command[0]); err != nil {
			t.Logf("%s is not here", d.command[0])
			continue
		}
		_, rest, found := strings.Cut(string(page), "<!-- snippet: "+name+" -->\n```")
		_, rest, _ = strings.Cut(rest, "\n")
		snippet, _, ends := strings.Cut(rest, "```")
		if !found || !ends {
			t.Fatalf("docs/webhooks.md has no snippet %s", name)
		}
		file := filepath.Join(t.TempDir(), d.file)
		if err := os.WriteFile(file, []byte(d.before+snippet+d.after), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(d.command[0], slices.Concat(d.command[1:], []string{file})...)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []bool
		if err := json.Unmarshal(out, &got); err != nil || len(got) != len(all) {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		for i, v := range all {
			if got[i] != v.valid {
				t.Errorf("%s: %s: %v, want %v", name, v.name, got[i], v.valid)
			}
		}
	}
}
