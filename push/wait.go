package push

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"belfry/message"
	"belfry/report"
)

// Reports publishes messages and says what became of them. report.Reporter does it; the
// errors are those of Publisher.
type Reports interface {
	Publish(ctx context.Context, m *message.Message, w message.Wait, q report.Query) (p *report.Pending, waited bool, err error)
}

// reported awaits what became of a push, and answers with it.
func (s *Server) reported(w http.ResponseWriter, ctx context.Context, gone func() bool, p *report.Pending, wait time.Duration) int {
	// The server's deadline for the answer began with the request.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + s.opt.WriteTimeout)) // not supported by recorders in tests
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	body, err := json.Marshal(p.Await(ctx, gone))
	if err != nil {
		return s.refuse(w, s.internal("report cannot be encoded", err))
	}
	w.Header()["Content-Type"] = jsonType
	w.Write(append(body, '\n'))
	return http.StatusOK
}
