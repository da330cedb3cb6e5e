// Package web holds the pages embedded in the binary. There is one: the demo
// page of serve --dev, which connects to the node like any client and pushes
// through its API.
//
// The page is plain HTML, CSS and JavaScript modules under static/, without a
// build step and without anything from another server.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"time"
)

//go:embed static
var static embed.FS

// Info has what the page must know about the node that serves it.
type Info struct {
	// Host is the host that clients connect to. If it is empty or a wildcard
	// (0.0.0.0, ::) the page takes the host that it was itself loaded from.
	Host string
	Port int    // port for clients; not the port that serves the page
	TLS  bool   // the port speaks TLS
	Path string // of the WebSocket; "" is "/ws"

	Version string // of the binary; shown
	Node    string // name of the node; shown
	// Dev makes the page say that user ids are believed without proof.
	Dev bool
	// Tokens says that the node looks at tokens; else the page takes none.
	Tokens bool
}

// settings is Info in the form that static/settings.js reads.
type settings struct {
	Host    string `json:"host"` // "" for the page's own
	Port    int    `json:"port"`
	TLS     bool   `json:"tls"`
	Path    string `json:"path"`
	Version string `json:"version"`
	Node    string `json:"node"`
	Dev     bool   `json:"dev"`
	Tokens  bool   `json:"tokens"`
}

// file is one answer; it is made once.
type file struct {
	kind string // Content-Type
	tag  string // ETag
	data []byte
}

// page serves the demo page. It is immutable.
type page struct {
	files  map[string]file // by URL path
	policy string          // Content-Security-Policy
}

// Handler serves the demo page at "/" and its files below "/assets/", for GET
// and HEAD; other paths are 404. It must be served at the API's address,
// because the page pushes to /v1/ of its own origin.
func Handler(info Info) http.Handler {
	s := settings(info)
	switch s.Host {
	case "0.0.0.0", "::", "[::]", "*":
		s.Host = ""
	}
	if s.Path == "" {
		s.Path = "/ws"
	}
	p := &page{files: map[string]file{}, policy: policy(s.Port)}
	entries, err := fs.ReadDir(static, "static")
	if err != nil {
		panic(err) // the embedded folder always exists
	}
	for _, e := range entries {
		data, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		if e.Name() == "index.html" {
			p.files["/"] = newFile(e.Name(), render(data, s))
			continue
		}
		p.files["/assets/"+e.Name()] = newFile(e.Name(), data)
	}
	return p
}

// policy allows the files of the page and connections to the node: to its API,
// which is the page's own origin, and to the clients' port. The host there is
// open because it may be any name of this machine, and because a source
// expression cannot spell an IPv6 address (CSP Level 3 §2.3.1).
func policy(port int) string {
	return fmt.Sprintf("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self' ws://*:%d wss://*:%d; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", port, port)
}

// place is where the settings belong in the page.
const place = "{{settings}}"

// render puts the settings into the page, as the content of a <meta>: a script
// element would need a hash in the policy. html/template would do the same, but
// its reflection keeps every exported method of every package in the binary.
func render(source []byte, s settings) []byte {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings, a number and a boolean
	}
	if bytes.Count(source, []byte(place)) != 1 {
		panic("web: the page has not exactly one place for the settings") // a test renders it
	}
	return bytes.Replace(source, []byte(place), []byte(html.EscapeString(string(data))), 1)
}

func newFile(name string, data []byte) file {
	sum := sha256.Sum256(data)
	f := file{data: data, tag: strconv.Quote(hex.EncodeToString(sum[:8]))}
	switch path.Ext(name) {
	case ".html":
		f.kind = "text/html; charset=utf-8"
	case ".css":
		f.kind = "text/css; charset=utf-8"
	case ".js":
		f.kind = "text/javascript; charset=utf-8"
	case ".svg":
		f.kind = "image/svg+xml"
	default:
		panic("web: no content type for " + name)
	}
	return f
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := p.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the page is only for reading", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would make the page's Origin "null"
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // the next belfry at this address may have another version
	h.Set("ETag", f.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}
