package metrics

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Limits of a scrape.
const (
	maxScrapes    = 4 // scrapes at the same time; further ones get 503
	scrapeTimeout = 10 * time.Second
)

// Handler serves the metrics of values, of the Go runtime and of the process in
// the text format of Prometheus, compressed by gzip if the scraper takes that. It
// calls values once for each scrape, on the goroutine of the scrape; several may
// run at once.
func Handler(values func() Values) http.Handler {
	slots := make(chan struct{}, maxScrapes)
	scrape := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are in progress, which is the limit", maxScrapes), http.StatusServiceUnavailable)
			return
		}
		var e exposition
		e.add(values())
		e.add(readRuntime())
		if e.err != nil {
			http.Error(w, e.err.Error(), http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Vary", "Accept-Encoding")
		if !takesGzip(r.Header) {
			_, _ = w.Write(e.text) // an error means that the scraper has gone
			return
		}
		h.Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(e.text)
		_ = z.Close()
	})
	return http.TimeoutHandler(scrape, scrapeTimeout, fmt.Sprintf("the scrape took more than %v", scrapeTimeout))
}

// takesGzip says whether the client accepts gzip (RFC 9110 §12.5.3).
func takesGzip(h http.Header) bool {
	for _, line := range h.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(coding, ";")
			if strings.TrimSpace(name) == "gzip" {
				weight = strings.TrimPrefix(strings.TrimSpace(weight), "q=")
				return strings.Trim(weight, "0.") != "" || weight == ""
			}
		}
	}
	return false
}
