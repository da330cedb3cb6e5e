package push

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// healthz answers whether the process should be left alone.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) int {
	return condition(w, "healthy", call(s.opt.Healthy), nil)
}

// readyz answers whether the node should get traffic.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) int {
	reasons := call(s.opt.Ready)
	if s.stop.Err() != nil {
		reasons = append(reasons, "shutting down")
	}
	return condition(w, "ready", reasons, call(s.opt.Degraded))
}

func call(f func() []string) []string {
	if f == nil {
		return nil
	}
	return f()
}

// condition answers 200 {"name":true}, with "degraded":[…] if anything is, or
// 503 {"name":false,"reasons":[…]}.
func condition(w http.ResponseWriter, name string, reasons, degraded []string) int {
	status := http.StatusOK
	body := append(appendString([]byte("{"), name), ":true"...)
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
		body = append(appendString([]byte("{"), name), ":false"...)
		body = appendList(append(body, `,"reasons":`...), reasons)
	}
	if len(degraded) > 0 {
		body = appendList(append(body, `,"degraded":`...), degraded)
	}
	return writeJSON(w, status, append(body, "}\n"...))
}

func appendList(dst []byte, texts []string) []byte {
	dst = append(dst, '[')
	for i, text := range texts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, text)
	}
	return append(dst, ']')
}

func (s *Server) serveStats(w http.ResponseWriter, r *http.Request) int {
	if p := noParameters(r.URL.RawQuery); p != nil {
		return s.refuse(w, p)
	}
	var v any = struct{}{}
	if s.opt.Stats != nil {
		v = s.opt.Stats()
	}
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(v); err != nil {
		return s.refuse(w, s.internal("statistics could not be encoded", err))
	}
	return writeJSON(w, http.StatusOK, body.Bytes())
}

func writeJSON(w http.ResponseWriter, status int, body []byte) int {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["X-Content-Type-Options"] = nosniff
	h["Cache-Control"] = noStore
	w.WriteHeader(status)
	w.Write(body)
	return status
}

// foreign makes a handle of a handler that does not say what it answered.
func foreign(h http.Handler) handle {
	return func(w http.ResponseWriter, r *http.Request) int {
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(sw, r)
		return sw.status
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if status >= 200 { // the 1xx go before the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
