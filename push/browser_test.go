package push

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// webRequest is a request with these headers; ok: it is not refused.
type webRequest struct {
	name    string
	headers []string
	ok      bool
}

// webRequests returns requests of web pages and programs to a server at the
// host:port own.
func webRequests(own string) []webRequest {
	const form = "Content-Type: text/plain"
	return []webRequest{
		{"curl", nil, true},
		{"own page", []string{"Origin: http://" + own, "Sec-Fetch-Site: same-origin"}, true},
		{"own page, old browser", []string{"Origin: http://" + own}, true},
		{"own page by name", []string{"Host: LOCALHOST:8081", "Origin: http://localhost:8081"}, true},
		{"own page over IPv6", []string{"Host: [::1]:8081", "Origin: http://[::1]:8081"}, true},
		{"allowed host", []string{"Host: Belfry.internal:99"}, true},
		{"allowed host and port", []string{"Host: box:8081"}, true},
		{"allowed host, other port", []string{"Host: box:8082"}, false},
		{"own page behind TLS", []string{"Host: belfry.internal", "Origin: https://belfry.internal", "Sec-Fetch-Site: same-origin"}, true},
		{"typed into the address bar", []string{"Sec-Fetch-Site: none"}, true},
		{"foreign form", []string{form, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, false},
		{"foreign form, old browser", []string{form, "Origin: https://evil.example"}, false},
		{"foreign form under no-referrer", []string{form, "Origin: null"}, false},
		{"sandboxed frame", []string{"Origin: null", "Sec-Fetch-Site: cross-site"}, false},
		{"other port of this machine", []string{"Origin: http://127.0.0.1:3000", "Sec-Fetch-Site: same-site"}, false},
		{"other port, old browser", []string{"Origin: http://127.0.0.1:3000"}, false},
		{"other scheme", []string{"Origin: ftp://" + own}, false},
		{"origin with a suffix", []string{"Origin: http://" + own + ".evil.example"}, false},
		{"empty origin", []string{"Origin: "}, false},
		{"site without origin", []string{"Sec-Fetch-Site: cross-site"}, false},
		{"unknown site", []string{"Sec-Fetch-Site: alien"}, false},
		{"rebound name", []string{"Host: evil.example:8081", "Origin: http://evil.example:8081", "Sec-Fetch-Site: same-origin"}, false},
		{"name that looks local", []string{"Host: localhost.evil.example"}, false},
		{"name that begins local", []string{"Host: 127.0.0.1.evil.example"}, false},
		{"address of another machine", []string{"Host: 10.0.0.1:8081"}, false},
	}
}

func TestWebPagesAreKeptOut(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") })
	s, ts, rec := start(t, Options{Dev: page, AllowedHosts: []string{"belfry.internal", "box:8081"}})
	own := strings.TrimPrefix(ts.URL, "http://")
	refused := 0
	for _, tt := range webRequests(own) {
		for _, path := range []string{"/v1/all", "/v1/batch", "/v1/topics/x"} {
			before := len(rec.all())
			a := post(t, ts, path, `{"to":{"all":true},"text":"x"}`, tt.headers...)
			if ok := a.StatusCode != 403; ok != tt.ok {
				t.Errorf("%s, %s: %d %s", tt.name, path, a.StatusCode, a.body)
			}
			if !tt.ok {
				refused++
				a.problem(t)
				if len(rec.all()) != before {
					t.Errorf("%s: refused and published", tt.name)
				}
			}
		}
		for _, path := range []string{"/v1/stats", "/healthz", "/style.css"} {
			if a := request(t, ts, "GET", path, nil, tt.headers...); (a.StatusCode != 403) != tt.ok {
				t.Errorf("%s, GET %s: %d", tt.name, path, a.StatusCode)
			} else if !tt.ok {
				refused++
			}
		}
	}
	counted := 0
	for _, c := range s.Stats().Rejected {
		if c.Cause == CauseHost || c.Cause == CauseOrigin {
			counted += int(c.Count)
		}
	}
	if counted != refused {
		t.Errorf("%d counted, %d refused", counted, refused)
	}
}

func TestHostAndOriginAreChecked(t *testing.T) {
	_, ts, _ := start(t, Options{})
	// No header may be given twice.
	a := raw(t, ts, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil\r\nContent-Length: 0\r\n\r\n")
	if a.StatusCode != 403 {
		t.Errorf("two origins: %d", a.StatusCode)
	}
	// HTTP/1.0 may come without a Host.
	if a := raw(t, ts, "POST /v1/all HTTP/1.0\r\nContent-Length: 0\r\n\r\n"); a.StatusCode != 403 {
		t.Errorf("no host: %d", a.StatusCode)
	}
	// An absolute request target sets the Host (RFC 9112 §3.2.2).
	if a := raw(t, ts, "POST http://evil.example/v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); a.StatusCode != 403 {
		t.Errorf("absolute target: %d", a.StatusCode)
	}
}

// A link to the demo page works; a frame of it and a form to it do not.
func TestLinkToThePage(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") })
	s, ts, _ := start(t, Options{Dev: page})
	link := []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
	if a := request(t, ts, "GET", "/", nil, link...); a.body != "page" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	// With --dev other paths are answered in the same way as without it.
	if a := request(t, ts, "GET", "/ws", nil); a.StatusCode != 404 || !strings.Contains(a.body, "WebSocket clients connect to") {
		t.Errorf("no page: %d %s", a.StatusCode, a.body)
	}
	if a := request(t, ts, "POST", "/", nil, link...); a.StatusCode != 403 {
		t.Errorf("form: %d", a.StatusCode)
	}
	link[2] = "Sec-Fetch-Dest: iframe"
	if a := request(t, ts, "GET", "/", nil, link...); a.StatusCode != 403 {
		t.Errorf("frame: %d", a.StatusCode)
	}
	for _, c := range s.Stats().Requests {
		if c.Status == 404 {
			continue
		}
		if c.Route != "/" || c.Status == 200 && c.Count != 1 || c.Status == 403 && c.Count != 2 {
			t.Errorf("counted %+v", c)
		}
	}
}

func TestAllowedHostsAreChecked(t *testing.T) {
	for _, h := range []string{"", "http://x", "a b", "*.example.org", "u@h", ":80"} {
		if _, err := New(Options{Publisher: &recorder{}, AllowedHosts: []string{h}}); err == nil {
			t.Errorf("%q was accepted", h)
		}
	}
}
