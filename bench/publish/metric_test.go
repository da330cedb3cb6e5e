package publish

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestGetMetric(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("# HELP a b\na_total 3\na{x=\"y\"} 1.5\n"))
	}))
	defer s.Close()
	api := strings.TrimPrefix(s.URL, "http://")
	for series, want := range map[string]float64{"a_total": 3, `a{x="y"}`: 1.5} {
		if v, err := GetMetric(t.Context(), time.Minute, api, series); err != nil || v != want {
			t.Errorf("%s: %v, %v", series, v, err)
		}
	}
	if _, err := GetMetric(t.Context(), time.Minute, api, "a"); err == nil {
		t.Error("a series that is not there")
	}
}
