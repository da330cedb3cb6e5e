package handover

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDefaultFolder(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	for _, tc := range []struct {
		env  func(string) string
		want string
	}{
		{env("RUNTIME_DIRECTORY", "/run/belfry", "XDG_RUNTIME_DIR", "/run/user/1"), "/run/belfry"},
		{env("RUNTIME_DIRECTORY", "/run/a:/run/b"), "/run/a"},
		{env("XDG_RUNTIME_DIR", "/run/user/1"), "/run/user/1"},
		{env("XDG_RUNTIME_DIR", "relative"), filepath.Join(os.TempDir(), "belfry-"+itoa(os.Getuid()))},
	} {
		if got := DefaultFolder(tc.env); got != tc.want {
			t.Errorf("%s; want %s", got, tc.want)
		}
	}
}

func itoa(n int) string { return strings.TrimSpace(string(mustJSON(n))) }

// The socket is for its user alone. The file of a dead process is replaced, that of a
// live one is not, and a file that is no socket is left alone.
func TestSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := dir + "/s.sock"
	s, err := Listen(path, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %o", name, info.Mode(), err, want)
		}
	}
	_, err = Listen(path, false)
	if err == nil || !strings.Contains(err.Error(), "the process "+itoa(os.Getpid())) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second process: %v", err)
	}
	// A successor replaces it; then the old process must not remove the file.
	next, err := Listen(path, true)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal("the old process has removed the socket of its successor")
	}
	c.Close()
	next.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	// A process that has died leaves its file.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if s, err = Listen(path, false); err != nil {
		t.Fatalf("a stale file: %v", err)
	}
	s.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, false); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
}

func TestSocketRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir + "/s":                       "others may write",
		"/" + strings.Repeat("x", 120):   "shorter",
		dir + "/missing/deeper/than/one": "no such file",
	} {
		if _, err := Listen(path, false); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "control.socket") {
			t.Errorf("%s: %v; want %q", path, err, want)
		}
	}
}

// accept takes connections of this user and says who connects.
func TestPeer(t *testing.T) {
	s, err := Listen(filepath.Join(t.TempDir(), "run", "s"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, cred, err := s.accept(func(*unix.Ucred) { t.Error("refused") })
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if int(cred.Pid) != os.Getpid() || int(cred.Uid) != os.Getuid() {
		t.Errorf("%+v", cred)
	}
}

func TestMarks(t *testing.T) {
	m, err := newMarks(2, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	fd, err := unix.Dup(m.fd)
	if err != nil {
		t.Fatal(err)
	}
	other, err := openMarks(fd, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.Of(1)[999] = 7
	if len(m.Of(1)) != 1000 || m.Of(1)[999] != 7 || m.Of(0)[999] != 0 {
		t.Error("the two do not see the same memory")
	}
	if err := unix.Ftruncate(m.fd, 0); err == nil {
		t.Error("the memory can be taken away from the other process")
	}
	if fd, err = unix.Dup(m.fd); err != nil {
		t.Fatal(err)
	}
	if _, err := openMarks(fd, 999); err == nil {
		t.Error("marks for another number of slots were accepted")
	}
}
