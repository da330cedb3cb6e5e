package auth

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// decide is the answer of a connect webhook: a client is the user in the query of its
// request.
func decide(w http.ResponseWriter, _ *http.Request, body []byte) {
	var asked struct{ Query string }
	if err := json.Unmarshal(body, &asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	query, err := url.ParseQuery(asked.Query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"uid": query.Get("uid")}) // else the node has given up
}
