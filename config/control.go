package config

import (
	"path/filepath"
	"time"
)

// Control is the section control.
type Control struct {
	Socket       string        `yaml:"socket" zero:"belfry-<node.name>.sock in the runtime folder, off as PID 1" doc:"Unix socket for belfry restart and for a successor (--takeover), which only this user and root may open: an absolute path of at most 103 bytes, or off: then the next restart is a cold one. The runtime folder is $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR, or belfry-<uid> in the folder for temporary files."`
	ReadyTimeout time.Duration `yaml:"ready_timeout" default:"30s" range:"1s..10m" doc:"How long a successor may take to open everything before it gets the first session; then this process goes on and says so."`
}

// ControlOff as control.socket: there is none, and no hot restart.
const ControlOff = "off"

// maxSocketPath is what a unix socket's path may have (man 7 unix), less ".new".
const maxSocketPath = 103

func (c *Config) checkControl(k *checks) {
	switch path := c.Control.Socket; {
	case path == "" || path == ControlOff:
	case !filepath.IsAbs(path):
		k.fail("control.socket", "%q; allowed are absolute paths and off", path)
	case len(path) > maxSocketPath:
		k.fail("control.socket", "%q has %d bytes; allowed are %d", path, len(path), maxSocketPath)
	}
}
