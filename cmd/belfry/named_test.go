package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"belfry/config"
)

// settingPaths returns the paths of all settings and sections.
var settingPaths = func() map[string]bool {
	all := map[string]bool{}
	defaults := config.Default()
	for _, s := range defaults.Settings() {
		for at, c := range s.Path {
			if c == '.' {
				all[s.Path[:at]] = true
			}
		}
		all[s.Path] = true
	}
	return all
}()

// limitsWithoutSetting are the labels of belfry_limits_hit_total that are not
// settings, with what sets the limit instead.
var limitsWithoutSetting = map[string]string{
	"memory": "the kernel, which gave a shard's tables no more memory",
	"kept":   "MaxKept of package session",
	"agents": "maxAgents of package session",

	"device_classes": "maxDeviceClasses of package session",
}

// TestLimitsAreSettings: every label of the metric of limits is a setting, not
// a section.
func TestLimitsAreSettings(t *testing.T) {
	var limits map[string]uint64
	if _, err := build(smallest(), func(n *belfry) { limits = n.values().Sessions.LimitsHit }); err != nil {
		t.Fatal(err)
	}
	settings := map[string]bool{}
	defaults := config.Default()
	for _, s := range defaults.Settings() {
		settings[s.Path] = true
	}
	if len(limits) < 20 {
		t.Errorf("%d limits only", len(limits))
	}
	for label := range limits {
		if !settings[label] && limitsWithoutSetting[label] == "" {
			t.Errorf("the limit %s is no setting", label)
		}
	}
	for label := range limitsWithoutSetting {
		if _, there := limits[label]; !there {
			t.Errorf("there is no limit %s", label)
		}
	}
}

// settingLike matches what looks like the path of a setting.
var settingLike = func() *regexp.Regexp {
	var sections []string
	for path := range settingPaths {
		if section, _, below := strings.Cut(path, "."); below && !slices.Contains(sections, section) {
			sections = append(sections, section)
		}
	}
	return regexp.MustCompile(`\b(` + strings.Join(sections, "|") + `)(\.[a-z_]+)+\b`)
}()

// TestNamedSettingsExist: every setting that messages, descriptions of metrics
// and documents name exists.
func TestNamedSettingsExist(t *testing.T) {
	named := map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "cache", "node_modules"}, d.Name())):
			return filepath.SkipDir
		case d.IsDir() || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		for _, text := range textsOf(t, path) {
			for _, at := range settingLike.FindAllStringIndex(text, -1) {
				if at[0] > 0 && text[at[0]-1] == '.' {
					continue // a part of a longer name, as the type of an event: belfry.session.opened
				}
				name := text[at[0]:at[1]]
				if named[name] = true; !isSetting(name) && !slices.Contains([]string{".go", ".md", ".yaml"}, filepath.Ext(name)) {
					t.Errorf("%s: there is no setting %s", path, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(named) < 80 {
		t.Errorf("%d settings are named only", len(named))
	}
}

// isSetting says whether such a setting exists; nats.outbox_ is how
// nats.outbox_* is matched.
func isSetting(name string) bool {
	if !strings.HasSuffix(name, "_") {
		return settingPaths[name] || config.Former(name) != ""
	}
	for path := range settingPaths {
		if strings.HasPrefix(path, name) {
			return true
		}
	}
	return false
}

// textsOf returns the texts of a file that users read: a whole document, or the
// strings in code.
func textsOf(t *testing.T, path string) (texts []string) {
	t.Helper()
	switch filepath.Ext(path) {
	case ".md", ".yaml":
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return []string{string(text)}
	case ".go":
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
				texts = append(texts, text.Value)
			}
			return true
		})
	}
	return texts
}
