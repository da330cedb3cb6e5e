package broadcast

import (
	"strings"
	"testing"
	"time"
)

// While another node refuses the routes of this one, Degraded names the settings to
// check.
func TestRefusedRoutesAreReported(t *testing.T) {
	first := open(t, Options{NodeName: "one", Embedded: Embedded{ClusterListen: "127.0.0.1:0", ClusterUser: "u", ClusterPass: "right"}})
	second := open(t, Options{NodeName: "two", Embedded: Embedded{ClusterListen: "127.0.0.1:0", ClusterUser: "u", ClusterPass: "wrong",
		Routes: []string{"nats://u:wrong@" + first.ClusterAddr()}}})
	eventually(t, "the reason", func() bool {
		return strings.Contains(strings.Join(second.Degraded(), " "), "nats.cluster_password")
	})
	l := &serverLog{now: second.opt.clock.now}
	l.refused.Store(l.now().Add(-refusedFor - time.Second).UnixNano())
	if l.routesRefused() {
		t.Error("the reason stays without further refusals")
	}
}
