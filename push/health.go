package push

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"belfry/message/strictjson"
)

// healthz answers whether the process should be left alone.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request, _ call) int {
	return condition(w, "healthy", ask(s.opt.Healthy), nil)
}

// readyz answers whether the node should get traffic.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request, _ call) int {
	reasons := ask(s.opt.Ready)
	if s.stop.Err() != nil {
		reasons = append(reasons, "shutting down")
	}
	return condition(w, "ready", reasons, ask(s.opt.Degraded))
}

func ask(f func() []string) []string {
	if f == nil {
		return nil
	}
	return f()
}

// condition answers 200 {"name":true}, or 503 {"name":false,"reasons":[…]};
// with "degraded":[…] if something does not work that does not decide.
func condition(w http.ResponseWriter, name string, reasons, degraded []string) int {
	status := http.StatusOK
	body := append(strictjson.AppendString([]byte("{"), name), ":true"...)
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
		body = append(strictjson.AppendString([]byte("{"), name), ":false"...)
		body = strictjson.AppendStrings(append(body, `,"reasons":`...), reasons)
	}
	if len(degraded) > 0 {
		body = strictjson.AppendStrings(append(body, `,"degraded":`...), degraded)
	}
	return writeJSON(w, status, append(body, '}', '\n'))
}

// shown serves a value as JSON, an empty object if there is none.
func (s *Server) shown(what string, value func() any) handle {
	encoded := &sharedAnswer{render: func() (*rendering, error) {
		var v any = struct{}{}
		if value != nil {
			v = value()
		}
		var body bytes.Buffer
		err := json.NewEncoder(&body).Encode(v)
		return &rendering{body: body.Bytes()}, err
	}}
	return func(w http.ResponseWriter, r *http.Request, _ call) int {
		if p := noParameters(r.URL.RawQuery); p != nil {
			return s.refuse(w, p)
		}
		shown, p := s.bounded(encoded)
		if p != nil {
			return s.refuse(w, p)
		}
		defer encoded.release(shown)
		if shown.err != nil {
			return s.refuse(w, s.internal(what+" could not be encoded", shown.err))
		}
		return writeJSON(w, http.StatusOK, shown.body)
	}
}

// bounded renders as one of MaxRequests: to be read may take longer, and takes
// no place of others.
func (s *Server) bounded(what *sharedAnswer) (*rendering, *problem) {
	defer s.leave()
	if p := s.enter(); p != nil {
		return nil, p
	}
	return what.get(), nil
}

func writeJSON(w http.ResponseWriter, status int, body []byte) int {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["X-Content-Type-Options"] = nosniff
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))} // it may be flushed: see takeIn
	w.WriteHeader(status)
	w.Write(body)
	return status
}

// foreign makes a handle of a handler that does not say what it answered.
func foreign(h http.Handler) handle {
	return func(w http.ResponseWriter, r *http.Request, _ call) int {
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
