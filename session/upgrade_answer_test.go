package session

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// exchange sends head on a connection of its own and returns the answer and
// what comes behind it up to the end of the connection.
func (r *rig) exchange(head, method string) (resp *http.Response, content string) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(clientTimeout))
	io.WriteString(c, head)
	br := bufio.NewReader(c)
	resp, err = http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		r.t.Fatalf("%.40q: %v", head, err)
	}
	if resp.StatusCode == 101 {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	rest, err2 := io.ReadAll(br)
	if err != nil || err2 != nil || len(rest) > 0 {
		r.t.Errorf("%.40q: %v, %v, %q behind the answer", head, err, err2, rest)
	}
	return resp, string(body)
}

// head is a handshake with a request line and fields in front of the usual ones.
func head(line string, fields ...string) string {
	fields = append(fields, "Host: b:9510", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
	return line + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

// TestAnswers has the upgrade answered on a socket: the list fields of proxies
// and browsers, refusals with Date and without content for a HEAD, and texts
// for what is no HTTP.
func TestAnswers(t *testing.T) {
	r := newRig(t, Options{})
	for _, tt := range []struct {
		name, head string
		method     string
		status     int
		says       string
		cause      string
	}{
		{"Connection on two lines", head("GET /ws HTTP/1.1", "Connection: keep-alive"), "GET", 101, "", "none"},
		{"h2c offered too", head("GET /ws HTTP/1.1", "Upgrade: h2c"), "GET", 101, "", "none"},
		{"empty line first", "\r\n" + head("GET /ws HTTP/1.1"), "GET", 101, "", "none"},
		{"foreign page", head("GET /ws HTTP/1.1", "Origin: https://a.example"), "GET", 403, "403 Forbidden: Origin https://a.example, Host b:9510: ", "origin"},
		{"HEAD", head("HEAD /ws HTTP/1.1"), "HEAD", 405, "", "method"},
		{"second uid", head("GET /ws?uid=a&uid=b HTTP/1.1"), "GET", 400, "uid: the parameter is repeated", "uid"},
		{"body", head("GET /ws HTTP/1.1", "Content-Length: 1") + "x", "GET", 413, "413 Content Too Large: ", "body"},
		{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "GET", 400, "this is TLS", "protocol"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "GET", 505, "this is HTTP/2", "protocol"},
		{"PROXY", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + head("GET /ws HTTP/1.1"), "GET", 400, "this is a PROXY protocol header", "protocol"},
		{"PROXY v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x01\x02\x03\x04\x01\x02\x03\x04" + head("GET /ws HTTP/1.1"), "GET", 400, "this is a PROXY protocol header", "protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := [2]string{fmt.Sprint(tt.status), tt.cause}
			count, before := r.Stats().Upgrades[key], time.Now().Truncate(time.Second)
			resp, content := r.exchange(tt.head, tt.method)
			if resp.StatusCode != tt.status || !strings.Contains(content, tt.says) {
				t.Errorf("%d %q; want %d and %q", resp.StatusCode, content, tt.status, tt.says)
			}
			if n := r.Stats().Upgrades[key] - count; n != 1 {
				t.Errorf("%d counted as %v: %v", n, key, r.Stats().Upgrades)
			}
			if tt.status == 101 {
				return
			}
			date, err := http.ParseTime(resp.Header.Get("Date"))
			if err != nil || date.Before(before) || date.After(time.Now()) {
				t.Errorf("Date %q: %v", resp.Header.Get("Date"), err)
			}
			if tt.method == "HEAD" && (content != "" || resp.ContentLength <= 0) {
				t.Errorf("HEAD: content %q, Content-Length %d", content, resp.ContentLength)
			}
		})
	}
}
