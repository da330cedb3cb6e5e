package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// allowed says which of our folders the packages of a folder may import,
// besides the same folder. A folder that is not in this table may not have Go
// code. "*" is every folder.
var allowed = map[string][]string{
	"offheap":     {},
	"ticker":      {},
	"poller":      {"offheap", "ticker"},
	"ws":          {},
	"message":     {},
	"webhook":     {"message"},
	"wire":        {"ws", "message"},
	"bridge":      {"session", "poller", "message", "wire", "ws", "certs"},
	"certs":       {},
	"pace":        {},
	"session":     {"pace", "poller", "offheap", "ws", "wire", "message"},
	"broadcast":   {"message", "ticker"},
	"cluster":     {"broadcast", "message", "offheap", "ticker"},
	"auth":        {"session", "message", "ws", "webhook"},
	"presence":    {"broadcast", "message"},
	"report":      {"broadcast", "message"},
	"push":        {"broadcast", "presence", "report", "idempotency", "message", "ws", "certs"},
	"idempotency": {"broadcast", "cluster"},
	"events":      {"session", "message"},
	"handover":    {"session", "poller", "message"},
	"gateway":     {"events", "session", "webhook", "message", "wire", "ws"},
	"deploy":      {},
	"examples":    {},
	"config":      {"ws", "message"},
	"metrics":     {},
	"host":        {},
	"web":         {"certs"}, // certs/certtest, for its tests
	"bench":       {"offheap"},
	"cmd":         {"*"},
}

// forbidden are modules that code outside tests must not use: the servers that
// belfry is compared with, and client libraries, which are for tests and bench.
var forbidden = []string{
	"github.com/centrifugal/",
	"github.com/lesismal/nbio",
	"github.com/panjf2000/gnet",
	"github.com/tidwall/evio",
	"github.com/gorilla/websocket",
	"github.com/coder/websocket",
	"github.com/lxzan/gws",
	"github.com/gobwas/ws",
}

// mayUse are exceptions to forbidden, by folder.
var mayUse = map[string][]string{
	"bench": {"github.com/gorilla/websocket", "github.com/coder/websocket", "github.com/lxzan/gws"},
	"cmd":   {"github.com/coder/websocket"}, // belfry listen
	"ws":    {"github.com/gobwas/ws"},       // the client of ws/conformance, which is for tests
}

// without lists modules that only some folders must not use: the poller knows
// nothing of WebSocket.
var without = map[string][]string{
	"poller": {"github.com/gobwas/ws"},
}

// goPackage is a package as go list describes it.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// violations returns every import of p that breaks the tables.
func violations(p goPackage) []string {
	folder := folderOf(p.ImportPath)
	may, known := allowed[folder]
	if !known {
		return []string{fmt.Sprintf("%s: folder %q is not in the table allowed", p.ImportPath, folder)}
	}
	var bad []string
	check := func(imported string, test bool) {
		refuse := func(why string) { bad = append(bad, p.ImportPath+" imports "+imported+": "+why) }
		if strings.HasPrefix(imported, "belfry/") {
			if to := folderOf(imported); to != folder && !slices.Contains(may, "*") && !slices.Contains(may, to) {
				refuse("not in the table allowed")
			}
			return
		}
		if within(imported, forbidden) && !test && !within(imported, mayUse[folder]) {
			refuse("not in code outside tests")
		}
		if within(imported, without[folder]) {
			refuse("not in " + folder)
		}
	}
	for _, imported := range p.Imports {
		check(imported, false)
	}
	for _, imported := range append(p.TestImports, p.XTestImports...) {
		check(imported, true)
	}
	return bad
}

// rulesWithout returns the folders that have rules and are not among the existing
// ones, in alphabetical order. may is a table like allowed, whose values are
// folders too; the values of the others are modules.
func rulesWithout(existing map[string]bool, may map[string][]string, others ...map[string][]string) (missing []string) {
	named := map[string]bool{}
	for _, table := range append(others, may) {
		for folder := range table {
			named[folder] = true
		}
	}
	for _, folders := range may {
		for _, folder := range folders {
			named[folder] = true
		}
	}
	delete(named, "*")
	for folder := range named {
		if !existing[folder] {
			missing = append(missing, folder)
		}
	}
	slices.Sort(missing)
	return missing
}

// folderOf returns the top-level folder of one of our packages.
func folderOf(importPath string) string {
	folder, _, _ := strings.Cut(strings.TrimPrefix(importPath, "belfry/"), "/")
	return folder
}

func within(imported string, modules []string) bool {
	return slices.ContainsFunc(modules, func(module string) bool {
		module = strings.TrimSuffix(module, "/")
		return imported == module || strings.HasPrefix(imported, module+"/")
	})
}

func TestImports(t *testing.T) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", "list", "-e", "-tags", "e2e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	list.Dir = path.Clean(strings.TrimSpace(string(root)))
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen, folders := 0, map[string]bool{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; seen++ {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		folders[folderOf(p.ImportPath)] = true
		for _, bad := range violations(p) {
			t.Error(bad)
		}
	}
	for _, folder := range rulesWithout(folders, allowed, mayUse, without) {
		t.Errorf("a rule names the folder %s, which has no Go code", folder)
	}
	if seen < 5 {
		t.Errorf("go list found %d packages only", seen)
	}
}

// A folder without Go code is reported if it has a rule in any of the tables, or may
// be imported.
func TestRulesWithout(t *testing.T) {
	may := map[string][]string{"a": {"b", "gone"}, "c": {"*"}, "old": {}}
	modules := []map[string][]string{{"a": {"example.com/m"}, "past": {"example.com/m"}}, {"lost": nil}}
	if got, want := rulesWithout(map[string]bool{"a": true, "b": true, "c": true}, may, modules...), []string{"gone", "lost", "old", "past"}; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}

// TestViolations breaks every rule once.
func TestViolations(t *testing.T) {
	for _, tc := range []struct {
		p    goPackage
		want int
	}{
		{goPackage{ImportPath: "belfry/session", Imports: []string{"belfry/poller", "belfry/ws"}, TestImports: []string{"github.com/gobwas/ws"}}, 0},
		{goPackage{ImportPath: "belfry/session", Imports: []string{"github.com/gobwas/ws"}}, 1},
		{goPackage{ImportPath: "belfry/ws", XTestImports: []string{"belfry/session"}}, 1},
		{goPackage{ImportPath: "belfry/broadcast", Imports: []string{"belfry/session"}}, 1},
		{goPackage{ImportPath: "belfry/session", Imports: []string{"belfry/broadcast"}}, 1},
		{goPackage{ImportPath: "belfry/session", XTestImports: []string{"belfry/broadcast"}}, 1},
		{goPackage{ImportPath: "belfry/session", TestImports: []string{"github.com/lxzan/gws"}}, 0},
		{goPackage{ImportPath: "belfry/session", Imports: []string{"github.com/lxzan/gws"}}, 1},
		{goPackage{ImportPath: "belfry/push", Imports: []string{"github.com/centrifugal/centrifuge"}}, 1},
		{goPackage{ImportPath: "belfry/push", Imports: []string{"github.com/panjf2000/gnet/v2"}}, 1},
		{goPackage{ImportPath: "belfry/poller", Imports: []string{"github.com/gobwas/ws"}}, 2},
		{goPackage{ImportPath: "belfry/poller", TestImports: []string{"github.com/gobwas/ws"}}, 1},
		{goPackage{ImportPath: "belfry/poller", Imports: []string{"belfry/offheap"}}, 0},
		{goPackage{ImportPath: "belfry/offheap", Imports: []string{"belfry/poller"}}, 1},
		{goPackage{ImportPath: "belfry/poller/ring", Imports: []string{"belfry/poller"}}, 0},
		{goPackage{ImportPath: "belfry/bench/figures", Imports: []string{"belfry/bench", "github.com/gorilla/websocket"}}, 0},
		{goPackage{ImportPath: "belfry/bench", Imports: []string{"belfry/session", "belfry/metrics"}}, 2},
		{goPackage{ImportPath: "belfry/bench/load", Imports: []string{"belfry/bench", "belfry/bench/plot"}}, 0},
		{goPackage{ImportPath: "belfry/bench/load", Imports: []string{"belfry/push"}, TestImports: []string{"belfry/session"}}, 2},
		{goPackage{ImportPath: "belfry/config", Imports: []string{"belfry/session"}}, 1},
		{goPackage{ImportPath: "belfry/host", Imports: []string{"belfry/config", "golang.org/x/sys/unix"}}, 1},
		{goPackage{ImportPath: "belfry/cmd/belfry-bench", Imports: []string{"belfry/bench/load"}}, 0},
		{goPackage{ImportPath: "belfry/cmd/belfry", Imports: []string{"belfry/session", "belfry/web"}}, 0},
		{goPackage{ImportPath: "belfry/util"}, 1},
		{goPackage{ImportPath: "belfry"}, 1},
	} {
		if got := violations(tc.p); len(got) != tc.want {
			t.Errorf("%+v: %q; want %d", tc.p, got, tc.want)
		}
	}
}
