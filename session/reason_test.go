package session

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"belfry/ws"
)

// docs/protocol.md prints the registry for people who write clients; this
// keeps it true. The last column, when a reason occurs, is prose.
func TestRegistryIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(doc), "\n### Close codes\n")
	if !found {
		t.Fatal("docs/protocol.md has no section Close codes")
	}
	var rows []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, strings.TrimSpace(line))
		} else if len(rows) > 0 {
			break // the table ended
		}
	}
	reasons := Reasons()
	if len(rows) != len(reasons)+2 {
		t.Fatalf("%d rows below the table's head; want %d", len(rows)-2, len(reasons))
	}
	for i, r := range reasons {
		want := registryRow(r)
		if rest, ok := strings.CutPrefix(rows[i+2], want); !ok || len(strings.Trim(rest, " |")) == 0 {
			t.Errorf("row %d is\n%s\nwant it to begin with\n%s\nand to say when", i+1, rows[i+2], want)
		}
	}
}

// registryRow returns the generated columns of r's row.
func registryRow(r Reason) string {
	code, text, back := "–", "", "no"
	if r.Code() != 0 {
		code = fmt.Sprint(r.Code())
	}
	if r.Text() != "" {
		text = r.Text() + " "
	}
	if r.Reconnect() {
		back = "yes"
	}
	return fmt.Sprintf("| %s | `%s` | %s| %s | ", code, r, text, back)
}

// A client that knows only the code must be able to tell whether to come
// back, so reasons that share a code agree. What is sent must be sendable.
func TestReasonsAreConsistent(t *testing.T) {
	labels := map[string]bool{}
	back := map[uint16]bool{}
	for _, r := range Reasons() {
		if r.String() == "" || labels[r.String()] {
			t.Errorf("reason %d: label %q is empty or taken", r, r)
		}
		labels[r.String()] = true
		code := r.Code()
		if code == 0 {
			continue
		}
		if !ws.ValidCloseCode(code) {
			t.Errorf("%s: %d must not stand in a close frame", r, code)
		}
		if len(r.Text()) > ws.MaxCloseReason {
			t.Errorf("%s: text of %d bytes; a close frame has room for %d", r, len(r.Text()), ws.MaxCloseReason)
		}
		if known, ok := back[code]; ok && known != r.Reconnect() {
			t.Errorf("%s: other reasons with code %d disagree on coming back", r, code)
		}
		back[code] = r.Reconnect()
	}
}

// TestReasonsSendValidCodes has every close frame understood (RFC 6455 §7.4).
func TestReasonsSendValidCodes(t *testing.T) {
	for _, r := range Reasons() {
		if code := r.Code(); code != 0 && !ws.ValidCloseCode(code) {
			t.Errorf("reason %v sends %d", r, code)
		}
	}
}

// TestReasonOf has each error of the decoder end a session with its reason.
func TestReasonOf(t *testing.T) {
	for want, err := range map[Reason]error{
		ReasonProtocol:    &ws.ProtocolError{Violation: ws.BrokenProtocol},
		ReasonUTF8:        &ws.ProtocolError{Violation: ws.InvalidUTF8},
		ReasonTooBig:      &ws.ProtocolError{Violation: ws.TooBig},
		ReasonFragments:   &ws.ProtocolError{Violation: ws.TooManyFragments},
		ReasonNodeInbound: ws.ErrNoMemory,
	} {
		got, _ := reasonOf(err)
		if got != want {
			t.Errorf("%v ends with %v, want %v", err, got, want)
		}
		var pe *ws.ProtocolError
		if errors.As(err, &pe) && got.Code() != pe.Violation.Code() {
			t.Errorf("%v has code %d, its violation %d", got, got.Code(), pe.Violation.Code())
		}
	}
}
