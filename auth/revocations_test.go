package auth

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/message"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func add(t *testing.T, r *Revocations, uid string, before, now time.Time) {
	t.Helper()
	if added, err := r.Add(Revocation{uid, before}, now); err != nil || !added {
		t.Fatalf("%s before %v: %v %v", uid, before, added, err)
	}
}

func TestRevoked(t *testing.T) {
	r := NewRevocations(0, 0)
	if r.Revoked("u1", time.Time{}) || r.Revoked("", noon) {
		t.Error("a new set revokes something")
	}
	add(t, r, "u1", noon, noon)
	for _, c := range []struct {
		uid    string
		issued time.Time
		want   bool
	}{
		{"u1", noon.Add(-time.Nanosecond), true}, {"u1", noon, false}, {"u1", noon.Add(time.Hour), false},
		{"u1", time.Time{}, true}, {"u1", time.Unix(0, 0), true}, {"u1", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), false},
		{"u2", time.Time{}, false}, {"", time.Time{}, false},
	} {
		if got := r.Revoked(c.uid, c.issued); got != c.want {
			t.Errorf("%q issued %v: %v", c.uid, c.issued, got)
		}
	}
	if added, err := r.Add(Revocation{"u1", noon.Add(-time.Minute)}, noon); added || err != nil {
		t.Errorf("an earlier time counts: %v %v", added, err)
	}
	add(t, r, "u1", noon.Add(time.Minute), noon)
	if !r.Revoked("u1", noon) {
		t.Error("a later time does not count")
	}
	add(t, r, "", noon.Add(-time.Minute), noon)
	if !r.Revoked("u2", noon.Add(-time.Hour)) || !r.Revoked("", time.Time{}) || r.Revoked("u2", noon) || !r.Revoked("u1", noon) {
		t.Error("revoking everybody's tokens")
	}
	// It makes those of single users needless that are earlier.
	add(t, r, "", noon.Add(2*time.Minute), noon.Add(2*time.Minute))
	if st := r.Stats(); st.Users != 0 || !st.Everybody.Equal(noon.Add(2*time.Minute)) || !r.Revoked("u1", noon) {
		t.Errorf("%+v", st)
	}
}

// Revocations are forgotten when their tokens have expired, not before.
func TestRevocationsExpire(t *testing.T) {
	r := NewRevocations(time.Hour, 10)
	add(t, r, "u1", noon, noon)
	add(t, r, "", noon.Add(-time.Minute), noon)
	r.Sweep(noon.Add(time.Hour + revocationSlack))
	if !r.Revoked("u1", noon.Add(-time.Second)) || r.Stats().Users != 1 {
		t.Error("forgotten while its tokens live")
	}
	r.Sweep(noon.Add(time.Hour + revocationSlack + time.Nanosecond))
	if st := r.Stats(); st.Users != 0 || !st.Everybody.IsZero() || r.Revoked("u1", noon.Add(-time.Second)) {
		t.Errorf("%+v", st)
	}
	if added, err := r.Add(Revocation{"u1", noon}, noon.Add(2*time.Hour)); added || err != nil {
		t.Errorf("a revocation of expired tokens was taken: %v %v", added, err)
	}
}

// Beyond the limit further users are refused; the listed ones are not forgotten for
// them, and room comes back.
func TestRevocationsFull(t *testing.T) {
	r := NewRevocations(time.Hour, 3)
	for i := range 3 {
		add(t, r, fmt.Sprint("u", i), noon, noon)
	}
	if _, err := r.Add(Revocation{"u3", noon}, noon); !errors.Is(err, ErrRevocationsFull) || r.Stats().Refused != 1 {
		t.Errorf("%v %+v", err, r.Stats())
	}
	add(t, r, "u1", noon.Add(time.Second), noon) // it has a place
	for i := range 3 {
		if !r.Revoked(fmt.Sprint("u", i), noon.Add(-time.Second)) {
			t.Errorf("u%d was forgotten", i)
		}
	}
	for i := 3; i < 6; i++ {
		if added, err := r.merge(Revocation{fmt.Sprint("u", i), noon}, noon); !added || err != nil {
			t.Errorf("from another node: %v %v", added, err)
		}
	}
	if _, err := r.merge(Revocation{"u6", noon}, noon); !errors.Is(err, ErrRevocationsFull) {
		t.Errorf("%v", err)
	}
	later := noon.Add(2 * time.Hour)
	add(t, r, "u7", later, later) // the others have expired
	if r.Stats().Users != 1 {
		t.Errorf("%+v", r.Stats())
	}
}

func TestRevocationCheck(t *testing.T) {
	for _, v := range []Revocation{{"u1", noon}, {"", noon.Add(maxAhead)}, {"", time.Unix(1, 0)}} {
		if err := v.Check(noon); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
	for _, v := range []Revocation{{"u\n", noon}, {"", noon.Add(maxAhead + 1)}, {"u1", time.Time{}}, {"u1", time.Unix(-5, 0)}} {
		var field *message.FieldError
		if err := v.Check(noon); !errors.As(err, &field) {
			t.Errorf("%+v: %v", v, err)
		}
	}
}

// In whatever order revocations come, and however often, the sets are equal, and
// so are their digests. Different sets have different digests.
func TestRevocationsMerge(t *testing.T) {
	var all []Revocation
	for i := range 500 {
		all = append(all, Revocation{fmt.Sprint("u", rand.IntN(200)), noon.Add(-time.Duration(rand.IntN(3600)) * time.Second)})
		if i%100 == 0 {
			all = append(all, Revocation{Before: noon.Add(-time.Duration(1800+rand.IntN(1800)) * time.Second)})
		}
	}
	a, b := NewRevocations(0, 0), NewRevocations(0, 0)
	for _, v := range all {
		a.merge(v, noon)
	}
	for range 2 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, v := range all {
			b.merge(v, noon)
		}
	}
	if a.digest() != b.digest() {
		t.Errorf("%s and %s", a.digest(), b.digest())
	}
	for range 1000 {
		uid, issued := fmt.Sprint("u", rand.IntN(210)), noon.Add(-time.Duration(rand.IntN(4000))*time.Second)
		if a.Revoked(uid, issued) != b.Revoked(uid, issued) {
			t.Fatalf("%s issued at %v", uid, issued)
		}
	}
	add(t, b, "another", noon, noon)
	if a.digest() == b.digest() {
		t.Error("different sets have the same digest")
	}
}

// The pages have every user once, in order.
func TestRevocationPages(t *testing.T) {
	r := NewRevocations(0, 0)
	var want []string
	for i := range 1000 {
		uid := fmt.Sprintf("u%d", i*7919%1000)
		want = append(want, uid)
		add(t, r, uid, noon, noon)
	}
	slices.Sort(want)
	for _, most := range []int{1, 7, 100, 999, 1000, 1001} {
		var got []string
		for after, more := "", true; more; {
			var page []Revocation
			page, more = r.page(after, most)
			if len(page) > most {
				t.Fatalf("a page of %d", len(page))
			}
			for _, v := range page {
				got = append(got, v.UID)
			}
			after = got[len(got)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %d users", most, len(got))
		}
	}
}

// Verification asks for every token: with nothing revoked it is two loads.
func TestRevokedAllocates(t *testing.T) {
	r := NewRevocations(0, 0)
	add(t, r, "u1", noon, noon)
	uid := strings.Repeat("u", 20)
	if n := testing.AllocsPerRun(100, func() { r.Revoked(uid, noon) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRevoked(b *testing.B) {
	for _, users := range []int{0, 65536} {
		r := NewRevocations(0, 0)
		for i := range users {
			r.Add(Revocation{fmt.Sprint("user-", i), noon}, noon)
		}
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r.Revoked("user-77", noon)
				}
			})
		})
	}
}
