package push

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"belfry/message/strictjson"
)

// SettingsError says why settings that were read again cannot be used.
type SettingsError struct {
	File         string // "" if the fault is not in a file
	Line, Column int    // from 1; 0 if not known
	Field        string // the setting, "" if the fault is not in one
	Detail       string // all faults, without secrets
}

func (e *SettingsError) Error() string { return e.Detail }

// appendJSON appends the place as members of a problem.
func (e *SettingsError) appendJSON(dst []byte) []byte {
	if e.File != "" {
		dst = append(dst, `,"file":`...)
		dst = strictjson.AppendString(dst, e.File)
	}
	if e.Line > 0 {
		dst = append(dst, `,"line":`...)
		dst = strconv.AppendInt(dst, int64(e.Line), 10)
		dst = append(dst, `,"column":`...)
		dst = strconv.AppendInt(dst, int64(e.Column), 10)
	}
	return dst
}

// reload serves POST /v1/reload.
func (s *Server) reload(w http.ResponseWriter, r *http.Request, _ call) int {
	if p := noParameters(r.URL.RawQuery); p != nil {
		return s.refuse(w, p)
	}
	defer s.leave()
	if p := s.enter(); p != nil {
		return s.refuse(w, p)
	}
	result, err := s.opt.Reload()
	var fault *SettingsError
	switch {
	case errors.As(err, &fault):
		return s.refuse(w, &problem{cause: CauseSettings, field: fault.Field, detail: fault.Detail, place: fault})
	case err != nil:
		return s.refuse(w, s.internal("settings could not be reloaded", err))
	}
	body, err := json.Marshal(result)
	if err != nil {
		return s.refuse(w, s.internal("the result of a reload could not be encoded", err))
	}
	return writeJSON(w, http.StatusOK, append(body, '\n'))
}
