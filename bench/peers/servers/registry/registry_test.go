package registry

import (
	"slices"
	"testing"
)

func TestRegistry(t *testing.T) {
	r := New[int]()
	r.Add("a", 1)
	r.Add("a", 2)
	r.Add("b", 3)
	r.Remove("a", 1)
	r.Remove("c", 9)
	if r.Len() != 2 {
		t.Errorf("%d connections, want 2", r.Len())
	}
	collect := func(each func(func(int))) []int {
		var got []int
		each(func(c int) { got = append(got, c) })
		slices.Sort(got)
		return got
	}
	if got := collect(r.All); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("all: %v, want 2 and 3", got)
	}
	if got := collect(func(f func(int)) { r.User("a", f) }); !slices.Equal(got, []int{2}) {
		t.Errorf("user a: %v, want 2", got)
	}
	r.Remove("a", 2)
	r.Remove("b", 3)
	if len(r.users) != 0 {
		t.Errorf("%d users are left of none", len(r.users))
	}
}
