// Package centrifugo builds Centrifugo, a push server that is a program of its
// own, from its Go module. So it has the dependencies that its authors chose,
// and this module has none of them.
package centrifugo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Version is the version that is measured.
const Version = "6.9.1"

const module = "github.com/centrifugal/centrifugo/v6"

// ErrNotBuilt says that the program is missing and cannot be built here, for
// example without a Go command or without a network.
var ErrNotBuilt = errors.New("cannot be built here")

// Built returns the program that Build made in dir, and whether it is there.
func Built(dir string) (program string, ok bool) {
	program = filepath.Join(dir, "centrifugo", Version, "centrifugo")
	info, err := os.Stat(program)
	return program, err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// Build returns the program in dir. If it is missing, Build has the Go command
// download and compile it, which takes minutes. The Go command puts a program
// in its place only when it is complete.
func Build(ctx context.Context, dir string) (program string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	program, ok := Built(dir)
	if ok {
		return program, nil
	}
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("%w: the go command is needed in PATH", ErrNotBuilt)
	}
	place := filepath.Dir(program)
	if err := os.MkdirAll(place, 0o755); err != nil {
		return "", err
	}
	install := exec.CommandContext(ctx, goCommand, "install", module+"@v"+Version)
	install.Dir = place
	install.Env = append(os.Environ(), "GOBIN="+place, "CGO_ENABLED=0") // no cgo: as in the released programs
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %v: %w: %.500s", ErrNotBuilt, install, err, out)
	}
	if _, ok := Built(dir); !ok {
		return "", fmt.Errorf("%w: %v did not make %s", ErrNotBuilt, install, program)
	}
	return program, nil
}
