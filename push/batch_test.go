package push

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// batchLine is one line of an answer to a batch.
type batchLine struct {
	Line  int
	ID    string
	Error *problemBody
}

func parseAnswers(t *testing.T, body string) []batchLine {
	t.Helper()
	var out []batchLine
	for line := range strings.Lines(body) {
		var b batchLine
		if err := json.Unmarshal([]byte(line), &b); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("answer %q: %v", line, err)
		}
		out = append(out, b)
	}
	return out
}

func TestBatchWithABadLine(t *testing.T) {
	s, ts, rec := start(t, Options{})
	a := post(t, ts, "/v1/batch", strings.Join([]string{
		`{"to":{"all":true},"text":"one"}`,
		`{"to":{"topic":"a..b"},"text":"two"}`,
		``,
		`not json`,
		`{"to":{"user":"u"},"json":{"n": 3}}`,
		`{"to":{"all":true},"text":"fail:full"}`,
		`{"to":{"all":true},"text":"fail:other"}`,
		`{"to":{"all":true},"base64":"/w=="}`, // without a newline
	}, "\n"))
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %v", a.StatusCode, a.Header)
	}
	got := parseAnswers(t, a.body)
	want := []struct {
		line  int
		id    string
		cause Cause
	}{{1, "m1", 0}, {2, "", CauseField}, {4, "", CauseLine}, {5, "m2", 0}, {6, "", CauseOverloaded}, {7, "", CauseInternal}, {8, "m3", 0}}
	if len(got) != len(want) {
		t.Fatalf("%d answers: %s", len(got), a.body)
	}
	for i, w := range want {
		g := got[i]
		if g.Line != w.line || g.ID != w.id || (g.Error == nil) != (w.cause == 0) || w.cause != 0 && g.Error.Type != w.cause.Type() {
			t.Errorf("answer %d: %+v %+v", i, g, g.Error)
		}
	}
	if got[1].Error.Field != "to.topic" || got[4].Error.RetryAfter != 2 {
		t.Errorf("%+v, %+v", got[1].Error, got[4].Error)
	}
	if m := rec.last(t); string(m.Payload) != "\xff" {
		t.Errorf("last message %q", m.Payload)
	}
	st := s.Stats()
	refused := 0
	for _, c := range st.LinesRejected {
		refused += int(c.Count)
	}
	if st.Lines != 3 || refused != 4 || st.PayloadBytes != uint64(len(`one{"n": 3}`)+1) {
		t.Errorf("stats %+v", st)
	}
}

// The answer to a line comes while the body is still being sent.
func TestBatchStreams(t *testing.T) {
	_, ts, _ := start(t, Options{})
	pr, pw := io.Pipe()
	req, _ := http.NewRequest(http.MethodPost, ts.URL+"/v1/batch", pr)
	resps := make(chan *http.Response, 1)
	go func() {
		resp, err := ts.Client().Do(req)
		if err != nil {
			t.Error(err)
			close(resps)
			return
		}
		resps <- resp
	}()
	fmt.Fprintln(pw, `{"to":{"all":true},"text":"1"}`)
	resp, ok := <-resps
	if !ok {
		return
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := 1; i <= 50; i++ {
		line, err := r.ReadString('\n')
		if want := fmt.Sprintf("{\"line\":%d,\"id\":\"m%d\"}\n", i, i); err != nil || line != want {
			t.Fatalf("%q %v, want %q", line, err, want)
		}
		if i < 50 {
			fmt.Fprintf(pw, "{\"to\":{\"all\":true},\"text\":\"%d\"}\n", i+1)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
}

// A client may send everything before it reads. With one goroutine for both
// directions this would deadlock. The test uses a pipe, because a buffer would hide
// the deadlock.
func TestBatchOfAClientThatReadsLast(t *testing.T) {
	s, err := New(Options{Publisher: &recorder{}})
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	hs := s.httpServer(s.Handler())
	served := make(chan error)
	go func() { served <- hs.Serve(&oneConn{conn: server, closed: make(chan struct{})}) }()
	defer func() { client.Close(); hs.Close(); <-served }()

	line := `{"to":{"all":true},"text":"x","nonsense":"so that the answers are longer than the lines"}` + "\n"
	const lines = 3000
	_ = client.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(client, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", lines*len(line))
	if _, err := io.WriteString(client, strings.Repeat(line, lines)); err != nil {
		t.Fatal(err)
	}
	if got := parseAnswers(t, readAnswer(t, bufio.NewReader(client)).body); len(got) != lines || got[lines-1].Line != lines {
		t.Errorf("%d answers", len(got))
	}
}

// If a client never reads, its batch is not read any more when the answers reach
// their limit, and its connection is closed when a write takes too long.
func TestBatchOfAClientThatNeverReads(t *testing.T) {
	s, err := New(Options{Publisher: &recorder{}, Limits: Limits{WriteTimeout: 200 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	hs := s.httpServer(s.Handler())
	served := make(chan error)
	go func() { served <- hs.Serve(&oneConn{conn: server, closed: make(chan struct{})}) }()
	defer func() { client.Close(); hs.Close(); <-served }()

	_ = client.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprint(client, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
	sent := 0
	for {
		n, err := io.WriteString(client, strings.Repeat("bad\n", 1000))
		sent += n
		if err != nil {
			if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
				t.Fatal("the connection is not closed")
			}
			break
		}
	}
	refused := 0
	for _, c := range s.Stats().LinesRejected {
		refused += int(c.Count)
	}
	if most := 2*maxPendingAnswers/100 + 1000; refused > most {
		t.Errorf("%d answers held for a client that does not read, want at most %d", refused, most)
	}
	for s.Stats().Bodies > 0 { // before that, abandon may not have begun
		runtime.Gosched()
	}
	s.abandoned.Wait()
}

// oneConn is a listener that accepts one connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (c net.Conn, err error) {
	if l.conn != nil {
		c, l.conn = l.conn, nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func TestBatchLimits(t *testing.T) {
	_, ts, rec := start(t, Options{Limits: Limits{MaxBatchLine: 50, MaxBatchLines: 4}})
	ok := `{"to":{"all":true},"text":"x"}` + "\n"
	long := `{"to":{"all":true},"text":"` + strings.Repeat("x", 200_000) + `"}` + "\n"
	got := parseAnswers(t, post(t, ts, "/v1/batch", ok+long+ok+long+ok+strings.Repeat(ok, 100_000)).body)
	if len(got) != 5 || got[0].ID == "" || got[2].ID == "" {
		t.Fatalf("%+v", got)
	}
	for _, i := range []int{1, 3} {
		if got[i].Error == nil || got[i].Error.Type != CauseLineTooLong.Type() || !strings.Contains(got[i].Error.Detail, "50 bytes") {
			t.Errorf("line %d: %+v", i+1, got[i].Error)
		}
	}
	if e := got[4].Error; e == nil || e.Type != CauseTooManyLines.Type() || !strings.Contains(e.Detail, "4 lines") {
		t.Errorf("last: %+v", e)
	}
	if n := len(rec.all()); n != 2 {
		t.Errorf("%d published", n)
	}
	// A batch with exactly MaxBatchLines lines is allowed.
	if got := parseAnswers(t, post(t, ts, "/v1/batch", strings.Repeat(ok, 4)).body); len(got) != 4 || got[3].ID == "" {
		t.Errorf("%+v", got)
	}
}

// The rest of a batch after its last allowed line is read, so that the connection
// can be used again. If the rest is far too long, the connection is closed.
func TestBatchBeyondItsLines(t *testing.T) {
	for _, tt := range []struct{ size, cut int }{{3 << 20, 0}, {maxBatchRest + 1<<20, 1}} {
		s, ts, _ := start(t, Options{Limits: Limits{MaxBatchLines: 1}})
		c, err := net.Dial("tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		go func() {
			fmt.Fprintf(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", tt.size)
			io.WriteString(c, strings.Repeat("bad\n", tt.size/4))
		}()
		got := parseAnswers(t, readAnswer(t, r).body)
		if len(got) != 2 || got[1].Error == nil || got[1].Error.Type != CauseTooManyLines.Type() {
			t.Fatalf("%d bytes: %+v", tt.size, got)
		}
		if n := s.Stats().BodiesCut; n != uint64(tt.cut) {
			t.Errorf("%d bytes: %d bodies cut, want %d", tt.size, n, tt.cut)
		}
		if tt.cut > 0 {
			continue
		}
		fmt.Fprint(c, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nnext")
		if a := readAnswer(t, r); a.StatusCode != http.StatusAccepted {
			t.Errorf("%d bytes: the next request is answered with %d", tt.size, a.StatusCode)
		}
	}
}

// The answer to a batch that ends early reaches the client completely, and the rest
// of the body is not taken for a request.
func TestSilentBatch(t *testing.T) {
	_, ts, rec := start(t, Options{Limits: Limits{BatchIdleTimeout: 50 * time.Millisecond}})
	c, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line := `{"to":{"all":true},"text":"x"}` + "\n"
	fmt.Fprintf(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n%s%s", line, `{"half`)
	r := bufio.NewReader(c)
	got := parseAnswers(t, readAnswer(t, r).body)
	if len(got) != 2 || got[0].ID == "" || got[1].Error == nil || got[1].Error.Type != CauseSlow.Type() {
		t.Fatalf("%+v", got)
	}
	fmt.Fprint(c, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsmuggled")
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("answered: %q", rest)
	}
	if n := len(rec.all()); n != 1 {
		t.Errorf("%d published", n)
	}
}

// A body is not read after its connection was taken from net/http.
func TestBatchThatIsTheLast(t *testing.T) {
	s, ts, _ := start(t, Options{Limits: Limits{BatchIdleTimeout: 50 * time.Millisecond}})
	a := raw(t, ts, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000\r\n\r\nbad\n")
	if got := parseAnswers(t, a.body); len(got) != 2 || got[1].Error.Type != CauseSlow.Type() {
		t.Errorf("%+v", got)
	}
	until(t, func() bool { return s.Stats().InFlight == 0 })
	if n := s.Stats().BodiesCut; n != 1 {
		t.Errorf("%d bodies cut, want 1", n)
	}
}

func TestIncompleteBatch(t *testing.T) {
	s, ts, rec := start(t, Options{})
	c, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line := `{"to":{"all":true},"text":"x"}` + "\n"
	fmt.Fprintf(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n%s%s", line, strings.TrimSpace(line))
	_ = c.(*net.TCPConn).CloseWrite()
	got := parseAnswers(t, readAnswer(t, bufio.NewReader(c)).body)
	if len(got) != 2 || got[0].ID == "" || got[1].Error == nil || got[1].Error.Type != CauseBody.Type() {
		t.Fatalf("%+v", got)
	}
	if len(rec.all()) != 1 {
		t.Error("a line without its end was published")
	}
	until(t, func() bool { return s.Stats().InFlight == 0 })
}

// A connection serves several batches, one after the other.
func TestBatchKeepsTheConnection(t *testing.T) {
	_, ts, _ := start(t, Options{})
	c, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	line := `{"to":{"all":true},"text":"x"}` + "\n"
	for i := range 3 {
		fmt.Fprintf(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
		if got := parseAnswers(t, readAnswer(t, r).body); len(got) != 1 || got[0].ID != fmt.Sprintf("m%d", i+1) {
			t.Fatalf("batch %d: %+v", i, got)
		}
	}
}

func TestBatchRefusals(t *testing.T) {
	_, ts, _ := start(t, Options{})
	if p := post(t, ts, "/v1/batch?exclude=x", "").problem(t); p.Type != CauseParameter.Type() || p.Field != "exclude" {
		t.Errorf("%+v", p)
	}
	if p := post(t, ts, "/v1/batch", "", "Content-Encoding: gzip").problem(t); p.Status != 415 {
		t.Errorf("%+v", p)
	}
	if a := post(t, ts, "/v1/batch", ""); a.StatusCode != 200 || a.body != "" {
		t.Errorf("empty batch: %d %q", a.StatusCode, a.body)
	}
	if a := raw(t, ts, "POST /v1/batch HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"); len(parseAnswers(t, a.body)) != 1 {
		t.Errorf("HTTP/1.0: %q", a.body)
	}
}

// A shutdown wakes a batch that waits, and the last answer names the line.
func TestBatchAtShutdown(t *testing.T) {
	rec := &recorder{arrived: make(chan struct{}, 1)}
	s, stop, served := serve(t, Options{Publisher: rec})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\n%s\n\r\n", `{"to":{"all":true},"text":"x"}`)
	<-rec.arrived
	stop()
	got := parseAnswers(t, readAnswer(t, bufio.NewReader(c)).body)
	if len(got) != 2 || got[0].ID == "" || got[1].Error == nil || got[1].Error.Type != CauseShutdown.Type() || got[1].Error.RetryAfter < 1 {
		t.Errorf("%+v", got)
	}
	c.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
