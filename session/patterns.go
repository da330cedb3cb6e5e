package session

import (
	"bytes"
	"unsafe"

	"belfry/message"
)

// hasAll says whether * is one of the patterns in a text of permissions.
func hasAll(text []byte) bool {
	for len(text) > 0 {
		if text[0] == 1 && text[1] == '*' {
			return true
		}
		text = text[1+int(text[0]):]
	}
	return false
}

func hasPlaceholder(pattern []byte) bool {
	return bytes.Contains(pattern, []byte(message.UIDPlaceholder))
}

// view returns p as a string without copying it. It is valid as long as p, which must
// not change meanwhile.
func view(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }
