package measure

import (
	"os"
	"testing"
)

func TestSchedstat(t *testing.T) {
	q, err := parseSchedstat("100 2000 30\n")
	if err != nil || q != (queueing{2000, 30}) {
		t.Errorf("%+v %v", q, err)
	}
	for _, bad := range []string{"", "1 2", "1 x 2", "1 2 x"} {
		if _, err := parseSchedstat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if q, err := runQueue(os.Getpid()); err != nil || q.slices == 0 {
		t.Errorf("%+v %v", q, err)
	}
}
