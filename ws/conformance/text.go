package conformance

import (
	"strings"
	"unicode/utf8"
)

const (
	greek  = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5" // κόσμε
	umlaut = "Hello-µ@ßöäüàá-UTF-8!!"
)

// echoed expects the echo of a text message, failed that it ends the connection.
func echoed(wire []byte, text string) func(c *client) {
	return func(c *client) {
		c.send(atOnce, wire)
		c.want(opText, text)
		c.closes()
	}
}

func failed(wire []byte) func(c *client) {
	return func(c *client) {
		c.send(atOnce, wire)
		c.fails(1007)
	}
}

// utf8Cases is section 6 except 6.4: text in one frame and in fragments that end
// within a character, and the sequences of Markus Kuhn's decoder test.
func utf8Cases() []testCase {
	const broken = greek + "\xed\xa0\x80edited"
	cases := []testCase{
		{"6.1.1", echoed(frame(fin|opText, ""), "")},
		{"6.1.2", echoed(join(frame(opText, ""), frame(opCont, ""), frame(fin|opCont, "")), "")},
		{"6.1.3", echoed(join(frame(opText, ""), frame(opCont, "middle frame payload"), frame(fin|opCont, "")), "middle frame payload")},
		{"6.2.1", echoed(frame(fin|opText, umlaut), umlaut)},
		{"6.2.2", echoed(join(frame(opText, "Hello-µ@ßöä"), frame(fin|opCont, "üàá-UTF-8!!")), umlaut)},
		{"6.2.3", echoed(fragments(opText, []byte(umlaut), 1), umlaut)},
		{"6.2.4", echoed(fragments(opText, []byte(greek), 1), greek)},
		{"6.3.1", failed(frame(fin|opText, broken))},
		{"6.3.2", failed(fragments(opText, []byte(broken), 1))},
	}
	for i, group := range decoderTest() {
		for j, text := range group {
			run := failed(frame(fin|opText, text))
			if utf8.ValidString(text) {
				run = echoed(frame(fin|opText, text), text)
			}
			cases = append(cases, testCase{name(name("6", 5+i), j+1), run})
		}
	}
	return cases
}

func join(frames ...[]byte) (wire []byte) {
	for _, f := range frames {
		wire = append(wire, f...)
	}
	return wire
}

// decoderTest returns the texts of 6.5 to 6.23, one group for each number.
func decoderTest() [][]string {
	var prefixes, lonely, nonCharacters []string
	for i := range len(greek) {
		prefixes = append(prefixes, greek[:i+1])
	}
	run := func(from, to int, behind string) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			b.WriteByte(byte(i))
			b.WriteString(behind)
		}
		return b.String()
	}
	for _, r := range [][2]int{{0xc0, 0xdf}, {0xe0, 0xef}, {0xf0, 0xf7}, {0xf8, 0xfb}, {0xfc, 0xfd}} {
		lonely = append(lonely, run(r[0], r[1], " "))
	}
	nonCharacters = append(nonCharacters, "\xef\xbf\xbe", "\xef\xbf\xbf")
	for plane := rune(1); plane <= 16; plane++ {
		for _, last := range []rune{0xfffe, 0xffff} {
			nonCharacters = append(nonCharacters, string(plane<<16|last))
		}
	}
	cut := []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}
	return [][]string{
		{"hello\x24world", "hello\xc2\xa2world", "hello\xe2\x82\xacworld", "hello\xf0\xa4\xad\xa2world", greek}, // 6.5 valid
		prefixes, // 6.6 of a valid text
		{"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"},                                 // 6.7 first of each length
		{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"},                                     // 6.8 of lengths 5 and 6
		{"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"},                                 // 6.9 last of each length
		{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"},                 // 6.10 of lengths 4 to 6
		{"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80"}, // 6.11 other bounds
		{"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80",
			"\x80\xbf\x80\xbf\x80\xbf", run(0x80, 0xbf, "")}, // 6.12 unexpected continuation
		lonely,                               // 6.13 start bytes
		cut,                                  // 6.14 last continuation byte missing
		{strings.Join(cut, "")},              // 6.15 all of them
		{"\xfe", "\xff", "\xfe\xfe\xff\xff"}, // 6.16 impossible bytes
		{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"},             // 6.17 overlong ASCII
		{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"},             // 6.18 longest overlong
		{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"},             // 6.19 overlong NUL
		{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"}, // 6.20 surrogates
		{"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf"}, // 6.21 in pairs
		nonCharacters, // 6.22 valid
		{"\xef\xbf\xb9", "\xef\xbf\xba", "\xef\xbf\xbb", "\xef\xbf\xbc", "\xef\xbf\xbd", "\xef\xbf\xbe", "\xef\xbf\xbf"}, // 6.23 specials
	}
}

// failFastCases is 6.4: the first part is accepted, and the second, which
// makes the text invalid, ends the connection before the rest is sent.
func failFastCases() []testCase {
	const text = greek + "\xf4\x90\x80\x80edited"
	const part1, bad = len(greek), len(greek) + 1 // 0x90 is the byte at fault
	parts := func(first, second []byte) func(c *client) {
		return func(c *client) {
			c.write(first)
			c.quiet()
			c.write(second)
			c.fails(1007)
		}
	}
	whole := frame(fin|opText, text)
	head := len(whole) - len(text)
	return []testCase{
		{"6.4.1", parts(frame(opText, text[:part1]), frame(opCont, text[part1:part1+4]))},
		{"6.4.2", parts(frame(opText, text[:bad]), frame(opCont, text[bad:bad+1]))},
		{"6.4.3", parts(whole[:head+part1], whole[head+part1:head+part1+4])},
		{"6.4.4", parts(whole[:head+bad], whole[head+bad:head+bad+1])},
	}
}
