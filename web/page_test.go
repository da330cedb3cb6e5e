package web

import (
	"encoding/json"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, h http.Handler, method, path string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	resp := w.Result()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestEveryFileIsServed(t *testing.T) {
	h := Handler(Info{Port: 8080})
	want := map[string]string{
		"/":                     "text/html; charset=utf-8",
		"/assets/page.css":      "text/css; charset=utf-8",
		"/assets/parts.css":     "text/css; charset=utf-8",
		"/assets/main.js":       "text/javascript; charset=utf-8",
		"/assets/connection.js": "text/javascript; charset=utf-8",
		"/assets/bell.svg":      "image/svg+xml",
	}
	for path, kind := range want {
		resp, body := get(t, h, http.MethodGet, path)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != kind || body == "" {
			t.Errorf("%s: %s, %q, %d bytes; want 200 and %q", path, resp.Status, resp.Header.Get("Content-Type"), len(body), kind)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("ETag") == "" {
			t.Errorf("%s: header %v", path, resp.Header)
		}
		head, nothing := get(t, h, http.MethodHead, path)
		if head.StatusCode != http.StatusOK || nothing != "" || head.ContentLength != resp.ContentLength {
			t.Errorf("HEAD %s: %s, %d bytes, length %d; want that of %d", path, head.Status, len(nothing), head.ContentLength, resp.ContentLength)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	h := Handler(Info{Port: 8080})
	for path, status := range map[string]int{
		"/index.html":        http.StatusNotFound,
		"/assets/index.html": http.StatusNotFound, // a template, not a page
		"/assets/":           http.StatusNotFound,
		"/assets/../page.go": http.StatusNotFound,
		"/v1/unknown":        http.StatusNotFound,
	} {
		if resp, _ := get(t, h, http.MethodGet, path); resp.StatusCode != status {
			t.Errorf("GET %s: %s; want %d", path, resp.Status, status)
		}
	}
	if resp, _ := get(t, h, http.MethodPost, "/"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: %s, Allow %q", resp.Status, resp.Header.Get("Allow"))
	}
}

func TestUnchangedIsNotSentAgain(t *testing.T) {
	h := Handler(Info{Port: 8080})
	resp, _ := get(t, h, http.MethodGet, "/")
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("If-None-Match", resp.Header.Get("ETag"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNotModified {
		t.Errorf("%d; want 304", w.Code)
	}
	other, _ := get(t, Handler(Info{Port: 8081}), http.MethodGet, "/")
	if other.Header.Get("ETag") == resp.Header.Get("ETag") {
		t.Error("another node's page has the same ETag")
	}
}

func TestPolicyAllowsTheClientsPortOnly(t *testing.T) {
	resp, _ := get(t, Handler(Info{Port: 9000}), http.MethodGet, "/")
	directives := map[string]string{}
	for d := range strings.SplitSeq(resp.Header.Get("Content-Security-Policy"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(d), " ")
		directives[name] = value
	}
	want := map[string]string{
		"default-src":     "'none'",
		"script-src":      "'self'",
		"style-src":       "'self'",
		"img-src":         "'self'",
		"connect-src":     "'self' ws://*:9000 wss://*:9000",
		"base-uri":        "'none'",
		"form-action":     "'none'",
		"frame-ancestors": "'none'",
	}
	if !reflect.DeepEqual(directives, want) {
		t.Errorf("got %v\nwant %v", directives, want)
	}
}

// The files must not contain what the policy forbids, because it would not
// work.
func TestFilesKeepToThePolicy(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"an inline style":        regexp.MustCompile(`(?i)<style|\sstyle=`),
		"an inline script":       regexp.MustCompile(`(?i)<script[^>]*>[^<]|<[^>]+\son[a-z]+=`),
		"something from outside": regexp.MustCompile(`(src|href)=["']?(https?:)?//|@import|\burl\(|from "https?:`),
		"unescaped HTML":         regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function`),
	}
	entries, err := fs.ReadDir(static, "static")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for what, pattern := range forbidden {
			if found := pattern.Find(data); found != nil {
				t.Errorf("%s has %s: %s", e.Name(), what, found)
			}
		}
	}
}

var metaContent = regexp.MustCompile(`<meta name="belfry" content="([^"]*)">`)

func TestSettingsArriveWhole(t *testing.T) {
	for _, c := range []struct {
		info Info
		want settings
	}{
		{Info{Port: 8080}, settings{Port: 8080, Path: "/ws"}},
		{Info{Host: "0.0.0.0", Port: 1}, settings{Port: 1, Path: "/ws"}},
		{Info{Host: "::", Port: 1}, settings{Port: 1, Path: "/ws"}},
		{Info{Host: "::1", Port: 65535, Path: "/socket", Version: "v1", Node: "oak", Dev: true, Tokens: true},
			settings{"::1", 65535, false, "/socket", "v1", "oak", true, true}},
		{Info{Host: "127.0.0.1", Port: 8080, TLS: true, Version: `"><script>alert('1')</script>`, Node: "a&b`\n\u2028é"},
			settings{"127.0.0.1", 8080, true, "/ws", `"><script>alert('1')</script>`, "a&b`\n\u2028é", false, false}},
	} {
		_, body := get(t, Handler(c.info), http.MethodGet, "/")
		m := metaContent.FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("%+v: no settings in the page", c.info)
		}
		if strings.ContainsAny(m[1], "<>") || strings.Contains(body, "alert('1')") {
			t.Errorf("%+v: not escaped: %s", c.info, m[1])
		}
		var got settings
		if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &got); err != nil {
			t.Errorf("%+v: %v in %s", c.info, err, m[1])
		} else if got != c.want {
			t.Errorf("got %+v\nwant %+v", got, c.want)
		}
	}
}

var (
	codeRow = regexp.MustCompile("(?m)^\\| (\\d{4}) \\| `[a-z_0-9]+` \\|[^|]*\\| (yes|no) \\|")
	codeJS  = regexp.MustCompile(`(?m)^  (\d{4}): \{ back: (true|false), words: "[^"]+" \},$`)
)

// The page explains exactly the close codes of docs/protocol.md, and reconnects
// after those for which it says so.
func TestCloseCodesAreThoseOfTheProtocol(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, m := range codeRow.FindAllStringSubmatch(string(doc), -1) {
		want[m[1]] = m[2] == "yes"
	}
	source, err := static.ReadFile("static/codes.js")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, m := range codeJS.FindAllStringSubmatch(string(source), -1) {
		got[m[1]] = m[2] == "true"
	}
	if len(want) < 10 || !reflect.DeepEqual(got, want) {
		t.Errorf("the page has %v\nthe registry %v", got, want)
	}
}
