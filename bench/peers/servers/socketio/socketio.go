// Package socketio installs the server on socket.io, which runs on Node.js.
package socketio

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

var (
	//go:embed server.js
	server []byte
	//go:embed package.json
	manifest []byte
)

// ErrNoNode says that Node.js or npm is not installed.
var ErrNoNode = errors.New("node and npm are needed in PATH")

// Install writes the server to dir/socketio and has npm install socket.io
// there unless the version wanted is there already. It returns the command
// that runs the server; the addresses follow.
func Install(ctx context.Context, dir string) (command []string, err error) {
	node, err1 := exec.LookPath("node")
	npm, err2 := exec.LookPath("npm")
	if err1 != nil || err2 != nil {
		return nil, ErrNoNode
	}
	dir, err = filepath.Abs(filepath.Join(dir, "socketio"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	script := filepath.Join(dir, "server.js")
	err = errors.Join(os.WriteFile(script, server, 0o644), os.WriteFile(filepath.Join(dir, "package.json"), manifest, 0o644))
	if err != nil {
		return nil, err
	}
	if !installed(dir) {
		// The important versions are exact, so that no lock file is needed.
		install := exec.CommandContext(ctx, npm, "install", "--fetch-retries=5", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
		install.Dir = dir
		if out, err := install.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("npm install in %s: %w: %.500s", dir, err, out)
		}
	}
	return []string{node, script}, nil
}

// installed says whether the version of the manifest is in dir.
func installed(dir string) bool {
	var want struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	var have struct {
		Version string `json:"version"`
	}
	p, err := os.ReadFile(filepath.Join(dir, "node_modules", "socket.io", "package.json"))
	if err != nil || json.Unmarshal(manifest, &want) != nil || json.Unmarshal(p, &have) != nil {
		return false
	}
	return have.Version == want.Dependencies["socket.io"]
}
