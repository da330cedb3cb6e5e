package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pushOnce pushes to all with an Idempotency-Key.
func (n *clusterNode) pushOnce(key, body string) (status int, answer string, replayed bool) {
	req, err := http.NewRequest("POST", "http://"+n.API+"/v1/all", strings.NewReader(body))
	if err != nil {
		n.t.Error(err)
		return
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Error(err)
		return
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Header.Get("Idempotent-Replayed") == "true"
}

// untilDelivered retries as a client does. It reports whether this request was the one
// that was delivered.
func (n *clusterNode) untilDelivered(key, body string) (first bool) {
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		switch status, answer, replayed := n.pushOnce(key, body); status {
		case http.StatusAccepted:
			return !replayed
		case http.StatusConflict, http.StatusServiceUnavailable:
		default:
			n.t.Errorf("%d %s", status, answer)
			return false
		}
	}
	n.t.Errorf("not delivered within %v", waitLimit)
	return false
}

// Fifty retries of a push at once, on three nodes, deliver it once; also after a node, which
// is the home of a third of the keys, was killed.
func TestPushOnceOnThreeNodes(t *testing.T) {
	t.Parallel()
	nodes := reportCluster(t, startNATS(t))
	client := nodes[1].dial("client", "topic=x")
	client.reachable(nodes, "/v1/all")
	burst := func(key string, nodes []*clusterNode) {
		var delivered atomic.Int32
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if nodes[i%len(nodes)].untilDelivered(key, key) {
					delivered.Add(1)
				}
			})
		}
		wg.Wait()
		if n := delivered.Load(); n != 1 {
			t.Errorf("%s: delivered %d times", key, n)
		}
	}
	const keys = 6
	for i := range keys {
		burst(fmt.Sprint("before-", i), nodes)
	}
	nodes[2].kill()
	for i := range keys {
		key := fmt.Sprint("before-", i)
		if nodes[i%2].untilDelivered(key, key) {
			t.Errorf("%s: delivered again after its home or its node was killed", key)
		}
		burst(fmt.Sprint("after-", i), nodes[:2])
	}
	nodes[0].push("/v1/all", "end")
	got := map[string]int{}
	for data := client.next(); data != "end"; data = client.next() {
		got[data]++
	}
	for i := range keys {
		for _, key := range []string{fmt.Sprint("before-", i), fmt.Sprint("after-", i)} {
			if got[key] != 1 {
				t.Errorf("the client got %s %d times", key, got[key])
			}
		}
	}
	if v := nodes[0].metric(`belfry_idempotency_requests_total{result="replayed"}`); v < 50 {
		t.Errorf("%v replayed", v)
	}
}
