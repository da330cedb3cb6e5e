package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// fixture writes testdata/NAME.txtar below a new directory, which it returns.
func fixture(t *testing.T, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := txtar.Write(archive, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// facts reads a fixture.
func facts(t *testing.T, name string) Facts {
	t.Helper()
	return Read(os.DirFS(fixture(t, name)))
}
