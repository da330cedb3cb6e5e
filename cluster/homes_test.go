package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"belfry/broadcast"
)

// ids returns the ids of n nodes.
func ids(n int) (all []uint32) {
	for i := range n {
		all = append(all, broadcast.NodeID(fmt.Sprint("node-", i)))
	}
	return all
}

// Equal nodes in any order have equal homes, each about as many as the others.
func TestHomesAreEven(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 100} {
		nodes := ids(n)
		h := NewHomes(slices.Clone(nodes))
		rand.New(rand.NewPCG(uint64(n), 1)).Shuffle(n, func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		other := NewHomes(nodes)
		count, second := make(map[uint32]int), make(map[uint32]int)
		for b := range uint16(Buckets) {
			home, ok := h.Home(b)
			again, _ := other.Home(b)
			keeper, others := h.Keeper(b, home)
			keeperAgain, _ := other.Keeper(b, home)
			if !ok || home != again || keeper != keeperAgain || others != (n > 1) || others && keeper == home {
				t.Fatalf("%d nodes, bucket %d: home %x and %x, second %x and %x", n, b, home, again, keeper, keeperAgain)
			}
			if keeper, ok := h.Keeper(b, 1); !ok || keeper != home {
				t.Fatalf("bucket %d of another holder: keeper %x; want the home %x", b, keeper, home)
			}
			count[home]++
			second[keeper]++
		}
		for _, id := range nodes {
			if mean := Buckets / n; count[id] < mean/2 || count[id] > 2*mean || n > 1 && (second[id] < mean/2 || second[id] > 2*mean) {
				t.Errorf("%d nodes: one is home of %d buckets and second home of %d; the mean is %d", n, count[id], second[id], mean)
			}
		}
	}
	if _, ok := NewHomes(nil).Home(0); ok {
		t.Error("a home without nodes")
	}
	if _, ok := NewHomes(nil).Keeper(0, 1); ok {
		t.Error("a keeper without nodes")
	}
}

// When a node joins or leaves, only its own buckets move, and the home of a node that
// is gone goes to the second home.
func TestHomesMoveLittle(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 99} {
		nodes := ids(n + 1)
		joined := nodes[n]
		before, after := NewHomes(nodes[:n]), NewHomes(nodes)
		moved := 0
		for b := range uint16(Buckets) {
			was, _ := before.Home(b)
			is, _ := after.Home(b)
			if is == was {
				continue
			}
			if moved++; is != joined {
				t.Fatalf("%d nodes and one: bucket %d moved from %x to %x", n, b, was, is)
			}
			if second, ok := after.Keeper(b, is); !ok || second != was {
				t.Fatalf("bucket %d: the second home is %x; want %x, which is the home without the node", b, second, was)
			}
		}
		if mean := Buckets / (n + 1); moved < mean*3/4 || moved > mean*4/3 {
			t.Errorf("%d nodes and one: %d buckets moved; want about %d", n, moved, mean)
		}
	}
}

func BenchmarkNewHomes(b *testing.B) {
	nodes := ids(100)
	for b.Loop() {
		NewHomes(nodes)
	}
}
