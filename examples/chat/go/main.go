// A chat behind the gateway of belfry: it holds no connection of a client.
package main

import (
	"encoding/json"
	"log"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
)

type object = map[string]any

func main() {
	var mu sync.Mutex
	names := map[string]string{} // by session id
	http.HandleFunc("POST /session", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if names[r.Header.Get("ce-sid")] = user(r); r.Header.Get("ce-type") == "belfry.session.closed" {
			delete(names, r.Header.Get("ce-sid"))
			commands(w, push(user(r)+" has left"))
			return
		}
		commands(w, object{"type": "subscribe", "topic": "chat"}, push(user(r)+" is here"))
	})
	http.HandleFunc("POST /say", func(w http.ResponseWriter, r *http.Request) {
		var m struct{ Text string }
		if json.NewDecoder(r.Body).Decode(&m); m.Text != "" {
			commands(w, push(user(r)+": "+m.Text))
		} else {
			http.Error(w, "say something", http.StatusBadRequest) // the client gets this text
		}
	})
	http.HandleFunc("POST /who", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(w).Encode(slices.Sorted(maps.Values(names)))
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

func user(r *http.Request) (uid string) {
	uid, _ = url.PathUnescape(r.Header.Get("ce-uid"))
	return
}

func push(text string) object {
	return object{"type": "push", "to": object{"topic": "chat"}, "data": text}
}

func commands(w http.ResponseWriter, list ...object) {
	w.Header().Set("Content-Type", "application/vnd.belfry.commands+json")
	json.NewEncoder(w).Encode(object{"commands": list})
}
