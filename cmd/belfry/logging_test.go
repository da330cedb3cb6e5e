package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/zap"

	"belfry/config"
)

// logTo returns a logger and a function that returns everything logged.
func logTo(t *testing.T, change func(*config.Log)) (*zap.Logger, func() string) {
	t.Helper()
	c := config.Default().Log
	if change != nil {
		change(&c)
	}
	out := &bytes.Buffer{}
	log, lines, err := newLogger(c, out, zap.NewAtomicLevel())
	if err != nil {
		t.Fatal(err)
	}
	return log, func() string {
		lines.Flush(waitLimit)
		return out.String()
	}
}

func TestLogIsJSONOffTerminals(t *testing.T) {
	log, out := logTo(t, nil)
	log.Debug("hidden")
	log.Info("ready", zap.String("api", "127.0.0.1:1"))
	var line struct{ Time, Level, Msg, API string }
	if err := json.Unmarshal([]byte(out()), &line); err != nil {
		t.Fatalf("%v: %s", err, out())
	}
	if line.Level != "info" || line.Msg != "ready" || line.API != "127.0.0.1:1" || line.Time == "" {
		t.Errorf("line %s", out())
	}
}

func TestLogFormatAndLevel(t *testing.T) {
	log, out := logTo(t, func(c *config.Log) { c.Format, c.Level = "console", "warn" })
	log.Info("hidden")
	log.Warn("shown", zap.Int("n", 3))
	if got := out(); strings.Contains(got, "hidden") || !strings.HasSuffix(got, ` WARN shown {"n": 3}`+"\n") {
		t.Errorf("got %q", got)
	}
}

// Clients choose some of the texts in the log. None of them may control a
// terminal or begin a new line.
func TestLogIsLegible(t *testing.T) {
	const hostile = "a\u009b31m\u202e\u2028\x7f\x1b[31m\n\U000e0001\xffz"
	for _, format := range []string{"json", "console"} {
		log, out := logTo(t, func(c *config.Log) { c.Format = format })
		log.Named("n").With(zap.String("with", hostile)).Info("said "+hostile, zap.String("origin", hostile), zap.Error(errors.New(hostile)))
		log.Info("grüße 日本")
		lines := strings.Split(out(), "\n")
		if len(lines) != 3 || !strings.Contains(lines[1], "grüße 日本") {
			t.Errorf("%s: lines %q", format, lines)
		}
		for _, r := range lines[0] {
			if !unicode.IsPrint(r) {
				t.Errorf("%s: %U in %q", format, r, lines[0])
			}
		}
		_, object, _ := strings.Cut(lines[0], "{")
		var fields map[string]string
		if err := json.Unmarshal([]byte("{"+object), &fields); err != nil {
			t.Fatalf("%s: %v in %q", format, err, lines[0])
		}
		for _, name := range []string{"with", "origin", "error"} {
			if want := strings.ToValidUTF8(hostile, "\ufffd"); fields[name] != want {
				t.Errorf("%s: field %s is %q, want %q", format, name, fields[name], want)
			}
		}
	}
}

func TestLogSampling(t *testing.T) {
	// The second in which lines are counted can end during the loop; then some
	// more lines appear, but never all of them.
	log, out := logTo(t, func(c *config.Log) { c.SampleFirst, c.SampleEvery = 5, 0 })
	for range 1000 {
		log.Info("storm")
	}
	log.Info("calm")
	if n := strings.Count(out(), "storm"); n < 5 || n > 500 {
		t.Errorf("%d of 1000 lines; want 5 a second", n)
	}
	if !strings.Contains(out(), "calm") {
		t.Error("one message's storm hid another message")
	}

	log, out = logTo(t, func(c *config.Log) { c.SampleFirst = 0 })
	for range 1000 {
		log.Info("storm")
	}
	if n := strings.Count(out(), "storm"); n != 1000 {
		t.Errorf("%d of 1000 lines without sampling", n)
	}
}

func TestTerminal(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if terminal(file) || terminal(&bytes.Buffer{}) {
		t.Error("neither a device nor a buffer is a terminal")
	}
	if pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err == nil {
		defer pty.Close()
		if !terminal(pty) {
			t.Error("a pseudo-terminal is one")
		}
	}
}

func TestPlatformVariable(t *testing.T) {
	for name, want := range map[string]bool{
		"BELFRY_PORT": true, "BELFRY_PORT_8080_TCP_ADDR": true, "BELFRY_SERVICE_HOST": true,
		"BELFRY_PORTS": false, "BELFRY_SESION_IDLE": false,
	} {
		if platformVariable(name) != want {
			t.Errorf("%s: %v; want %v", name, !want, want)
		}
	}
}
