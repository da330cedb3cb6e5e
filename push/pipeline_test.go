package push

import (
	"fmt"
	"io"
	"testing"
)

// A request behind a batch that was refused, or read to its end, is answered. If it
// cannot be answered, the answer before it has Connection: close.
func TestRequestBehindABatch(t *testing.T) {
	for _, tt := range []struct {
		name, target, fields, body string
		status                     int
	}{
		{"refused", "/v1/batch?x=y", "", "bad\n", 400},
		{"refused for its type", "/v1/batch", "Content-Encoding: gzip\r\n", "bad\n", 415},
		{"to its end", "/v1/batch", "", "bad\n", 200},
		{"beyond its lines", "/v1/batch", "", "bad\nbad\nbad\n", 200},
		{"asked for, to its end", "/v1/batch", "Expect: 100-continue\r\n", "bad\n", 200},
		{"asked for, beyond its lines", "/v1/batch", "Expect: 100-continue\r\n", "bad\nbad\nbad\n", 200},
		{"asked for and refused", "/v1/batch?x=y", "Expect: 100-continue\r\n", "bad\n", 400},
	} {
		for _, inPieces := range []bool{false, true} {
			s, _, _ := serve(t, Options{Limits: Limits{MaxBatchLines: 1}})
			v := visit(t, s, "127.0.0.1")
			fmt.Fprintf(v, "POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n", tt.target, tt.fields, len(tt.body))
			if inPieces {
				for i := range tt.body {
					io.WriteString(v, tt.body[i:i+1])
				}
				io.WriteString(v, smallPush)
			} else {
				io.WriteString(v, tt.body+smallPush)
			}
			a := readAnswer(t, v.r)
			for a.StatusCode == 100 {
				a = readAnswer(t, v.r)
			}
			if a.StatusCode != tt.status {
				t.Errorf("%s: %d %s", tt.name, a.StatusCode, a.body)
			}
			if a.Close {
				v.wantClosed(t, tt.name)
			} else if a := readAnswer(t, v.r); a.StatusCode != 202 {
				t.Errorf("%s: then %d", tt.name, a.StatusCode)
			}
		}
	}
}
