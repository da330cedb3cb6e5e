package push

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// scrape returns a handle for /metrics that serves shared renderings of h. There
// are two of them, one compressed with gzip. The format is the default of h, which
// every scraper can read.
func (s *Server) scrape(h http.Handler) handle {
	var variants [2]*sharedAnswer
	for i, coding := range []string{"identity", "gzip"} {
		variants[i] = &sharedAnswer{render: func() (*rendering, error) {
			r, err := http.NewRequest(http.MethodGet, "/metrics", nil)
			if err != nil {
				return &rendering{}, err
			}
			r.Header.Set("Accept-Encoding", coding)
			w := &recording{header: http.Header{}, status: http.StatusOK}
			h.ServeHTTP(w, r)
			return &rendering{status: w.status, header: w.header, body: w.body.Bytes()}, nil
		}}
	}
	return func(w http.ResponseWriter, r *http.Request, _ call) int {
		variant := variants[0]
		if acceptsGzip(r.Header["Accept-Encoding"]) {
			variant = variants[1]
		}
		got := variant.get()
		defer variant.release(got)
		if got.err != nil {
			return s.refuse(w, s.internal("metrics could not be rendered", got.err))
		}
		header := w.Header()
		for name, values := range got.header {
			header[name] = values
		}
		header["Content-Length"] = []string{strconv.Itoa(len(got.body))}
		w.WriteHeader(got.status)
		w.Write(got.body)
		return got.status
	}
}

// acceptsGzip reports whether a client accepts gzip (RFC 9110 §12.5.3). It does not
// recognize unusual forms; these clients get an uncompressed answer.
func acceptsGzip(lines []string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			coding, weight, _ := strings.Cut(member, ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") && strings.Trim(weight, " \tq=.0") != "" || strings.TrimSpace(strings.ToLower(member)) == "gzip" {
				return true
			}
		}
	}
	return false
}

// recording is a ResponseWriter that stores the answer.
type recording struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recording) Header() http.Header         { return w.header }
func (w *recording) WriteHeader(status int)      { w.status = status }
func (w *recording) Write(p []byte) (int, error) { return w.body.Write(p) }
