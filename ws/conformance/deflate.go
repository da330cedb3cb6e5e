package conformance

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// offerCase is a case of a client that offers extensions.
type offerCase struct {
	id         string // number in the suite
	offers     string
	mayDecline bool // the case passes if the server accepts none of them
	run        func(c *client)
}

// runOffers runs cases as parallel subtests.
func runOffers(t *testing.T, dial func() (net.Conn, error), cases []offerCase) {
	for _, tc := range cases {
		t.Run(tc.id, func(t *testing.T) {
			t.Parallel()
			c := connect(t, dial, tc.offers)
			defer c.conn.Close()
			switch {
			case c.deflate != nil:
				tc.run(c)
			case tc.mayDecline:
				c.closes()
			default:
				t.Fatalf("the server declined %s", tc.offers)
			}
		})
	}
}

const (
	rsv1 = 0x40
	// offer is what the suite offers by default.
	offer = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
	// window is how far back a match can reach, in bytes.
	window = 32 << 10
)

// deflateTail is what a sender cuts from a message (RFC 7692 §7.2.1).
const deflateTail = "\x00\x00\xff\xff"

// deflation compresses and inflates for a client. It uses the standard library
// and not package ws, whose code the cases check.
type deflation struct {
	w      *flate.Writer
	out    bytes.Buffer
	seen   []byte // earlier output of the server, if it takes over its context
	serial bool   // the server takes over its context
}

// negotiated checks the answer to an offer (RFC 7692 §7.1). It returns nil if the
// server has declined.
func negotiated(offers string, answers []string) (*deflation, error) {
	if len(answers) == 0 {
		return nil, nil
	}
	answer := strings.Join(answers, ",")
	name, given, err := parameters(answer)
	if err != nil {
		return nil, err
	}
	if name != "permessage-deflate" {
		return nil, fmt.Errorf("extension %q was not offered", name)
	}
	for _, one := range strings.Split(offers, ",") {
		if _, asked, err := parameters(one); err == nil && fits(asked, given) {
			_, reset := given["server_no_context_takeover"]
			return &deflation{serial: !reset}, nil
		}
	}
	return nil, fmt.Errorf("answer %q fits no offer of %q", answer, offers)
}

// parameters reads one extension with its parameters.
func parameters(s string) (name string, values map[string]string, err error) {
	parts := strings.Split(s, ";")
	values = map[string]string{}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, again := values[key]; again {
			return "", nil, fmt.Errorf("parameter %q twice", key)
		}
		values[key] = value
	}
	return strings.TrimSpace(parts[0]), values, nil
}

// fits returns whether an answer with the given parameters fits the offer.
func fits(asked, given map[string]string) bool {
	for key, value := range given {
		bits, _ := strconv.Atoi(value)
		_, offered := asked[key]
		switch key {
		case "server_no_context_takeover", "client_no_context_takeover":
			if value != "" {
				return false
			}
		case "client_max_window_bits":
			if !offered || bits < 8 || bits > 15 {
				return false
			}
		case "server_max_window_bits":
			if bits < 8 || bits > 15 {
				return false
			}
		default:
			return false
		}
	}
	if _, asks := asked["server_no_context_takeover"]; asks {
		if _, ok := given["server_no_context_takeover"]; !ok {
			return false
		}
	}
	if most, asks := asked["server_max_window_bits"]; asks {
		limit, _ := strconv.Atoi(most)
		if bits, err := strconv.Atoi(given["server_max_window_bits"]); err != nil || bits > limit {
			return false
		}
	}
	return true
}

// compress returns the compressed payload of a message, valid until the next
// call. Each message is compressed without context.
func (d *deflation) compress(p []byte) []byte {
	d.out.Reset()
	if d.w == nil {
		d.w, _ = flate.NewWriter(&d.out, flate.BestSpeed)
	}
	d.w.Reset(&d.out)
	d.w.Write(p)
	d.w.Flush()
	return bytes.TrimSuffix(d.out.Bytes(), []byte(deflateTail))
}

// inflate returns the message of a compressed payload.
func (d *deflation) inflate(p []byte) ([]byte, error) {
	in := io.MultiReader(bytes.NewReader(p), strings.NewReader(deflateTail+"\x01\x00\x00\xff\xff"))
	out, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(in, d.seen), 1<<25))
	if err == nil && bytes.HasSuffix(p, []byte(deflateTail)) {
		err = errors.New("the tail is there")
	}
	if d.serial {
		d.seen = append(d.seen, out...)
		d.seen = d.seen[max(0, len(d.seen)-window):]
	}
	return out, err
}

// sendDeflated sends a compressed message in fragments of size bytes, 0 for one
// frame.
func (c *client) sendDeflated(op byte, payload []byte, size int) {
	c.t.Helper()
	p := c.deflate.compress(payload)
	if size == 0 {
		size = len(p)
	}
	c.write(fragments(op|rsv1, p, max(size, 1)))
}

// echoDeflated sends count messages of n bytes, which are consecutive parts of
// data. It waits for each echo before it sends the next message.
func echoDeflated(op byte, data []byte, n, count, size int) func(*client) {
	return func(c *client) {
		twice := append(bytes.Clone(data), data...)
		for i := range count {
			at := i * n % len(data)
			payload := twice[at : at+n]
			c.sendDeflated(op, payload, size)
			c.returned(op, payload)
		}
		c.closes()
	}
}

// deflateSizes are the bytes of a message and of its fragments that sections
// 12 and 13 go through; 0 is no fragmentation.
var deflateSizes = [...]struct{ message, fragment int }{
	{16, 0}, {64, 0}, {256, 0}, {1 << 10, 0}, {4 << 10, 0}, {8 << 10, 0}, {16 << 10, 0}, {32 << 10, 0}, {64 << 10, 0}, {128 << 10, 0},
	{8 << 10, 256}, {16 << 10, 256}, {32 << 10, 256}, {64 << 10, 256}, {128 << 10, 256},
	{128 << 10, 1 << 10}, {128 << 10, 4 << 10}, {128 << 10, 32 << 10},
}

// countFor returns the number of messages of n bytes in a case. The suite always
// sends 1,000, which takes long for large messages.
func countFor(n, volume int) int { return min(1000, max(2, volume/n)) }

// deflateCases is section 12: compressed messages with five kinds of data. The
// suite reads files; here the data is generated.
func deflateCases() (cases []offerCase) {
	for i, kind := range []struct {
		op   byte
		data []byte
	}{
		{opText, jsonText(194056)}, {opBinary, picture(263222)}, {opBinary, prose(222218)}, {opText, page(263527)}, {opBinary, document(1042328)},
	} {
		for j, s := range deflateSizes {
			cases = append(cases, offerCase{
				id:     fmt.Sprintf("12.%d.%d", i+1, j+1),
				offers: offer,
				run:    echoDeflated(kind.op, kind.data, s.message, countFor(s.message, 256<<10), s.fragment),
			})
		}
	}
	return cases
}

// deflateParameterCases is section 13: the parameters of an offer. A server may
// decline a window size.
func deflateParameterCases() (cases []offerCase) {
	const reset, small, large = "; server_no_context_takeover", "; server_max_window_bits=9", "; server_max_window_bits=15"
	data := jsonText(194056)
	for i, o := range []struct {
		offers     string
		mayDecline bool
	}{
		{offer, false},
		{offer + reset, false},
		{offer + small, true},
		{offer + large, true},
		{offer + reset + small, true},
		{offer + reset + large, true},
		{offer + reset + small + ", " + offer + reset + ", " + offer, false},
	} {
		for j, s := range deflateSizes {
			cases = append(cases, offerCase{
				id:         fmt.Sprintf("13.%d.%d", i+1, j+1),
				offers:     o.offers,
				mayDecline: o.mayDecline,
				run:        echoDeflated(opText, data, s.message, countFor(s.message, 64<<10), s.fragment),
			})
		}
	}
	return cases
}
