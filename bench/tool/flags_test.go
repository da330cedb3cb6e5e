package tool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

type inner struct {
	Key string `flag:"key" of:"push" help:"a key"`
}

type sample struct {
	Mode  string
	Conns int           `flag:"conns,n" value:"10" range:"1..100" help:"connections"`
	Share float64       `flag:"share" value:"0.5" range:"0..1"`
	Long  time.Duration `flag:"long" value:"30s" push:"2m" range:"0|1s..1h"`
	Steps []int         `flag:"steps" value:"1,2" range:"1..9"`
	Only  List          `flag:"only" value:"a,b"`
	Env   []string      `flag:"env"`
	JSON  bool          `flag:"json"`
	inner
}

func flagged(t *testing.T, command string, args ...string) (s sample, err error) {
	t.Helper()
	fs := pflag.NewFlagSet(command, pflag.ContinueOnError)
	Flags(fs, &s, command)
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	return s, CheckRanges(&s, command)
}

func TestFlags(t *testing.T) {
	s, err := flagged(t, "connect")
	if err != nil || s.Conns != 10 || s.Share != 0.5 || s.Long != 30*time.Second || !slices.Equal(s.Steps, []int{1, 2}) || !slices.Equal(s.Only, List{"a", "b"}) || s.Env != nil {
		t.Errorf("the defaults: %+v, %v", s, err)
	}
	s, err = flagged(t, "push", "-n", "7", "--steps", "3,4", "--only", "c", "--env", "A=1,2", "--env", "B=3", "--json", "--key", "k")
	if err != nil || s.Conns != 7 || s.Long != 2*time.Minute || !slices.Equal(s.Steps, []int{3, 4}) || !slices.Equal(s.Only, List{"c"}) ||
		!slices.Equal(s.Env, []string{"A=1,2", "B=3"}) || !s.JSON || s.Key != "k" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := flagged(t, "connect", "--key", "k"); err == nil {
		t.Error("connect has the flag of push")
	}
	var help sample
	fs := pflag.NewFlagSet("push", pflag.ContinueOnError)
	Flags(fs, &help, "push")
	for _, want := range []string{"-n, --conns int", "connections (default 10)", "(default 2m0s)", "(default [1,2])", "(default [a,b])"} {
		if !strings.Contains(fs.FlagUsages(), want) {
			t.Errorf("no %q in\n%s", want, fs.FlagUsages())
		}
	}
}

func TestCheckRanges(t *testing.T) {
	for args, want := range map[string]string{
		"--conns=0":           "--conns 0: allowed are 1 to 100",
		"--conns=101":         "--conns 101: allowed are 1 to 100",
		"--share=1.5":         "--share 1.5: allowed are 0 to 1",
		"--long=10ms":         "--long 10ms: allowed are 1s to 1h",
		"--long=0":            "",
		"--steps=5,10":        "--steps 10: allowed are 1 to 9",
		"--conns=0 --long=2h": "--conns 0: allowed are 1 to 100\n--long 2h0m0s: allowed are 1s to 1h",
	} {
		if _, err := flagged(t, "connect", strings.Fields(args)...); fmt.Sprint(err) != want && (err != nil || want != "") {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
