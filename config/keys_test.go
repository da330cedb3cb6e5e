package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestAllKeys(t *testing.T) {
	const one, two = "0123456789abcdef", "fedcba9876543210"
	for _, tc := range []struct {
		name, file string
		keys       []Secret
		want       []Key
		problem    string
	}{
		{"none", "", nil, nil, ""},
		{"setting", "", []Secret{one}, []Key{{"", one}}, ""},
		{"file", "# ours\n\n" + one + "\r\n  " + two + "  \n", nil, []Key{{"", one}, {"", two}}, ""},
		{"both", two, []Secret{one}, []Key{{"", one}, {"", two}}, ""},
		{"short", one + "\nhunter2\n", nil, nil, ":2: the key has 7 characters; allowed are 16 or more"},
		{"blank", one + " hunter2\n", nil, nil, ":1: the key has a blank"},
		{"byte order mark", "\xef\xbb\xbf" + one + "\n", nil, []Key{{"", one}}, ""},
		{"UTF-16", "\xff\xfeh\x00u\x00n\x00t\x00e\x00r\x002\x00", nil, nil, "byte order mark (BOM) of UTF-16, little endian"},
		{"names", "back-office.2:" + two + "\n" + one + "\n", []Secret{"shop:" + one + ":+"}, []Key{{"shop", one + ":+"}, {"back-office.2", two}, {"", one}}, ""},
		{"is not a name", "hunter2!:" + one + "\n", nil, nil, ":1: the key has a colon, and the part before it is not a name; a name is 1 to 32 of a-z 0-9 . - _"},
		{"empty name", ":" + one + "\n", nil, nil, "is not a name"},
		{"long name", strings.Repeat("n", 33) + ":" + one + "\n", nil, nil, "is not a name"},
		{"short named", "shop:hunter2\n", nil, nil, ":1: the key has 7 characters"},
		{"same name", "shop:" + one + "\n", []Secret{"shop:" + two}, nil, ":1: the key has the name shop, which another key has"},
		{"name of a label", "none:" + one + "\n", nil, nil, "any other name"},
		{"no key", "# none\n", nil, nil, "no key in it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			api := API{Keys: tc.keys}
			if tc.file != "" {
				api.KeysFile = write(t, tc.file)
			}
			got, err := api.AllKeys()
			if tc.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tc.problem) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v; want %q", err, tc.problem)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
	if _, err := (&API{KeysFile: "/does/not/exist"}).AllKeys(); err == nil {
		t.Error("a file that is missing gave no error")
	}
}
