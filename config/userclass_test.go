package config

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// session.max_per_user_class is read as it is written, and an entry that is not valid is
// named with what is allowed.
func TestUserClasses(t *testing.T) {
	many := make([]string, maxUserClasses+1)
	for i := range many {
		many[i] = fmt.Sprint("c", i, ":1")
	}
	for _, tc := range []struct {
		text, says string
		want       map[string]int
	}{
		{"", "", map[string]int{}},
		{"phone:1,web: 2,tv:0", "", map[string]int{"phone": 1, "web": 2}},
		{"phone", `"phone" is not a device class and a number, like phone:1`, nil},
		{":1", "1 to 32 of", nil},
		{"a phone:1", "1 to 32 of", nil},
		{strings.Repeat("x", 33) + ":1", "1 to 32 of", nil},
		{"phone:-1", "allowed are 0 (no limit) to 1048576", nil},
		{"phone:1048577", "allowed are 0 (no limit) to 1048576", nil},
		{"phone:one", "allowed are 0 (no limit) to 1048576", nil},
		{"phone:1,phone:2", "phone is named twice", nil},
		{strings.Join(many, ","), "65 classes; allowed are up to 64", nil},
	} {
		c := Default()
		for _, s := range c.Settings() {
			if s.Path == "session.max_per_user_class" {
				if err := s.Set(tc.text); err != nil {
					t.Fatal(err)
				}
			}
		}
		err := c.Validate()
		switch {
		case tc.says == "" && err != nil:
			t.Errorf("%q: %v", tc.text, err)
		case tc.says == "" && !maps.Equal(c.Session.PerUserClass(), tc.want):
			t.Errorf("%q: %v; want %v", tc.text, c.Session.PerUserClass(), tc.want)
		case tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "session.max_per_user_class")):
			t.Errorf("%.40q: %v; want %q", tc.text, err, tc.says)
		}
	}
}
