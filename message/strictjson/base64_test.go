package strictjson

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"belfry/message"
)

func TestBase64(t *testing.T) {
	for in, want := range map[string]string{
		`""`: "", `"/w=="`: "\xff", `"\/w=="`: "\xff", `"AP8="`: "\x00\xff", `"AP8B"`: "\x00\xff\x01", `"\u0041P8B"`: "\x00\xff\x01",
	} {
		p := []byte(in)
		got, err := Base64("f", p)
		clear(p)
		if err != nil || !bytes.Equal(got, []byte(want)) || cap(got) != len(want) {
			t.Errorf("%s: %q with capacity %d, %v", in, got, cap(got), err)
		}
	}
}

func TestBase64Refusals(t *testing.T) {
	for in, want := range map[string]string{
		`null`: "must be a string", `1`: "must be a string", `"\ud800"`: "surrogate",
		`"/w"`: "byte 0; allowed is base64 in the standard alphabet", `"/w="`: "byte 3", `"/w==="`: "byte 4", `"_w=="`: "byte 0",
		`"/x=="`:   "byte", // the unused bits are not 0
		`"/w==\n"`: "a line break at byte 4; allowed is", `"\r/w=="`: "a line break at byte 0", `"AP\r\n8="`: "a line break at byte 2",
		`"AP\u000a8="`: "a line break at byte 2", `"AP 8="`: "byte 2", `"/w==/w=="`: "byte 4", `"é"`: "byte 0",
	} {
		got, err := Base64("f", []byte(in))
		f, ok := errors.AsType[*message.FieldError](err)
		if !ok || f.Field != "f" || !strings.Contains(f.Detail, want) {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
}
