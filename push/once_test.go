package push

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"belfry/idempotency"
	"belfry/report"
)

// A push that is sent again is answered again and not published again.
func TestPushIsPublishedOnce(t *testing.T) {
	_, ts, rec := start(t, Options{Keys: []Key{{"a", "key-of-a"}, {"b", "key-of-b"}}})
	send := func(key, path, body, header string) answer {
		t.Helper()
		return post(t, ts, path, body, "Authorization: Bearer key-of-"+key, header)
	}
	first := send("a", "/v1/users/u1?key=k", "x", "Idempotency-Key: 8e03978e")
	if first.StatusCode != 202 || first.Header.Get("Idempotent-Replayed") != "" {
		t.Fatal(first.StatusCode, first.body)
	}
	for _, form := range []string{`8e03978e`, `"8e03978e"`, `"8\e03978e"`} {
		again := send("a", "/v1/users/u1?key=k", "x", "Idempotency-Key: "+form)
		if strings.Contains(form, `\`) {
			if p := again.problem(t); p.Field != "Idempotency-Key" || p.Status != 400 {
				t.Errorf("%s: %+v", form, p)
			}
			continue
		}
		if again.StatusCode != 202 || again.body != first.body || again.Header.Get("Idempotent-Replayed") != "true" || again.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %q %v, first %q", form, again.StatusCode, again.body, again.Header, first.body)
		}
	}
	for _, other := range []answer{
		send("a", "/v1/users/u2?key=k", "x", "Idempotency-Key: 8e03978e"),
		send("a", "/v1/users/u1", "x", "Idempotency-Key: 8e03978e"),
		send("a", "/v1/users/u1?key=k", "y", "Idempotency-Key: 8e03978e"),
		post(t, ts, "/v1/users/u1?key=k", "x", "Authorization: Bearer key-of-a", "Idempotency-Key: 8e03978e", "Content-Type: application/octet-stream"),
	} {
		if p := other.problem(t); p.Type != CauseKeyReused.Type() || p.Status != http.StatusUnprocessableEntity {
			t.Errorf("%+v", p)
		}
	}
	if n := len(rec.all()); n != 1 {
		t.Fatalf("%d messages published", n)
	}
	// Keys are those of one API key.
	if a := send("b", "/v1/users/u2", "y", "Idempotency-Key: 8e03978e"); a.StatusCode != 202 || a.Header.Get("Idempotent-Replayed") != "" {
		t.Error(a.StatusCode, a.body)
	}
}

// After a refusal the key is free. After a fault it is not known what was delivered, so the
// fault is the answer for good.
func TestKeyAfterAnError(t *testing.T) {
	_, ts, rec := start(t, Options{})
	for body, status := range map[string]int{"fail:full": 503, "fail:field": 400} {
		for range 2 {
			if a := post(t, ts, "/v1/all", body, "Idempotency-Key: "+body); a.StatusCode != status || a.Header.Get("Idempotent-Replayed") != "" {
				t.Errorf("%s: %d %v", body, a.StatusCode, a.Header)
			}
		}
		if a := post(t, ts, "/v1/all", "x", "Idempotency-Key: "+body); a.StatusCode != 202 {
			t.Errorf("%s: %d", body, a.StatusCode)
		}
	}
	for _, body := range []string{"fail:other", "fail:panic"} {
		post(t, ts, "/v1/all", body, "Idempotency-Key: "+body)
		a := post(t, ts, "/v1/all", body, "Idempotency-Key: "+body)
		if p := a.problem(t); a.StatusCode != 500 || a.Header.Get("Idempotent-Replayed") != "true" || p.Type != CauseInternal.Type() {
			t.Errorf("%s: %d %v %s", body, a.StatusCode, a.Header, a.body)
		}
	}
	if n := len(rec.all()); n != 2 {
		t.Errorf("%d messages published", n)
	}
}

// While the first request runs, another one gets 409; if nodes do not answer, 503.
func TestKeyInProgress(t *testing.T) {
	keys, err := idempotency.New(idempotency.Options{MaxKeys: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, ts, rec := start(t, Options{Idempotency: keys})
	body := []byte("x")
	o := onceOf(&keyCount{name: keyNone}, "k", 0, []byte("/v1/all"), nil, []byte{0}, body)
	claim, _, err := keys.Claim(t.Context(), o.id, o.print)
	if err != nil {
		t.Fatal(err)
	}
	a := post(t, ts, "/v1/all", "x", "Idempotency-Key: k")
	if p := a.problem(t); p.Type != CauseKeyProgress.Type() || p.Status != 409 || a.Header.Get("Retry-After") != "1" || p.RetryAfter != 1 {
		t.Errorf("%+v %v", p, a.Header)
	}
	if p := post(t, ts, "/v1/all", "x", "Idempotency-Key: another").problem(t); p.Type != CauseKeyUnavailable.Type() || p.Status != 503 || !strings.Contains(p.Detail, "api.idempotency.max_keys") {
		t.Errorf("%+v", p)
	}
	claim.Release()
	if a := post(t, ts, "/v1/all", "x", "Idempotency-Key: k"); a.StatusCode != 202 || len(rec.all()) != 1 {
		t.Errorf("%d, %d published", a.StatusCode, len(rec.all()))
	}
}

// A batch that is sent again goes on where it ended.
func TestBatchGoesOn(t *testing.T) {
	_, reports := onlyNode(t, report.Options{})
	rec := &recorder{}
	_, ts, _ := start(t, Options{Publisher: rec, Reports: reports})
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf(`{"to":{"all":true},"text":"%d"}`, i))
	}
	lines[3] = `{"to":{"all":true},"text":"waits","wait":"1s"}`
	lines[5] = ``
	lines[7] = `{"to":{"nobody":true},"text":"7"}`
	first := parseAnswers(t, post(t, ts, "/v1/batch", strings.Join(lines[:10], "\n"), "Idempotency-Key: b").body)
	lines[7] = `{"to":{"all":true},"text":"7"}`
	lines[8] = `{"to":{"all":true},"text":"other"}`
	body := post(t, ts, "/v1/batch", strings.Join(lines, "\n"), "Idempotency-Key: b").body
	again := parseAnswers(t, body)
	if len(first) != 9 || len(again) != 19 {
		t.Fatalf("%d and %d answers", len(first), len(again))
	}
	for i, a := range again {
		replayed := strings.Contains(strings.Split(body, "\n")[i], `"replayed":true`)
		switch {
		case a.Line == 9:
			if a.Error.Type != CauseKeyReused.Type() {
				t.Errorf("%+v", a)
			}
		case a.Line > 10 || a.Line == 8:
			if a.ID == "" || replayed {
				t.Errorf("%+v", a)
			}
		default:
			if a.ID == "" || a.ID != first[i].ID || !replayed {
				t.Errorf("%+v, first %+v", a, first[i])
			}
		}
	}
	if line := strings.Split(body, "\n")[3]; !strings.Contains(line, `"complete":true`) {
		t.Error(line)
	}
	if n := len(rec.all()); n != 18 { // all lines once, but for the blank one; line 4 went to the reporter
		t.Errorf("%d messages published", n)
	}
}

// A key has one meaning in both forms.
func FuzzIdempotencyKey(f *testing.F) {
	for _, s := range []string{`a`, `"a"`, `"a\"b\\"`, `"a`, `""`, ``, `a"b`, `"a" `, "\x7f", strings.Repeat("a", 256)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, p := idempotencyKey(http.Header{"Idempotency-Key": {value}})
		if p != nil {
			return
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if same, p := idempotencyKey(http.Header{"Idempotency-Key": {quoted}}); p != nil || same != key {
			t.Errorf("%q is %q, and %q is %q", value, key, quoted, same)
		}
		if len(key) < 1 || len(key) > 255 || !strings.HasPrefix(value, `"`) && value != key {
			t.Errorf("%q is %q", value, key)
		}
	})
}
