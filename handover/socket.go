package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPath is how long the path of a unix socket may be (man 7 unix: 108 bytes with the
// zero byte).
const maxPath = 107

// DefaultFolder returns the folder for control sockets: $RUNTIME_DIRECTORY (systemd),
// else $XDG_RUNTIME_DIR, else a folder of this user in the folder for temporary files.
func DefaultFolder(getenv func(string) string) string {
	for _, name := range []string{"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"} {
		if dir := getenv(name); filepath.IsAbs(dir) {
			return firstOf(dir)
		}
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("belfry-%d", os.Getuid()))
}

// firstOf returns the first folder of a list with colons, as systemd writes it.
func firstOf(dirs string) string {
	for i := range len(dirs) {
		if dirs[i] == ':' {
			return dirs[:i]
		}
	}
	return dirs
}

// Prefix and Suffix stand around the node's name in the default name of its socket.
const (
	Prefix = "belfry-"
	Suffix = ".sock"
)

// Socket is the control socket of a process: a file that only its user may open.
type Socket struct {
	path string

	mu     sync.Mutex // guards this group
	l      *net.UnixListener
	file   unix.Stat_t
	closed bool
}

// Listen makes the control socket. It replaces the file of a process that has died, and,
// with replace, that of a process that lives: then connections go to this one.
func Listen(path string, replace bool) (*Socket, error) {
	if len(path)+len(".new") > maxPath {
		return nil, fmt.Errorf("control.socket: %s has %d bytes; the path of a socket may have %d: set a shorter one", path, len(path), maxPath-len(".new"))
	}
	if err := ownFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := free(path, replace); err != nil {
		return nil, err
	}
	s := &Socket{path: path}
	return s, s.listen()
}

// listen makes the file, or replaces it.
func (s *Socket) listen() error {
	// The file gets its name when it has its rights: nobody else can connect meanwhile.
	made := s.path + ".new"
	_ = os.Remove(made)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return fmt.Errorf("control.socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // another process may have replaced it
	if err = os.Chmod(made, 0o600); err == nil {
		if err = unix.Stat(made, &s.file); err == nil {
			err = os.Rename(made, s.path)
		}
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(made)
		return fmt.Errorf("control.socket: %w", err)
	}
	s.l = l
	return nil
}

// restore makes the file again if a successor has replaced it that serves no more, or if
// somebody has removed it.
func (s *Socket) restore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.own() {
		return nil
	}
	if err := ownFolder(filepath.Dir(s.path)); err != nil {
		return err
	}
	was := s.l
	if err := s.listen(); err != nil {
		return err
	}
	return was.Close() // accept goes on with the other one
}

// own says whether the file is this one's. The caller holds mu.
func (s *Socket) own() bool {
	var st unix.Stat_t
	return unix.Lstat(s.path, &st) == nil && st.Ino == s.file.Ino && st.Dev == s.file.Dev
}

// ownFolder makes the folder of the socket, if it is missing, for this user alone. A
// folder that is there already must not be one in which others can replace files.
func ownFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		if err != nil {
			return fmt.Errorf("control.socket: %w", err)
		}
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("control.socket: %s: %w", dir, err)
	}
	switch me := uint32(os.Getuid()); {
	case st.Uid != me && st.Uid != 0:
		return fmt.Errorf("control.socket: the folder %s belongs to another user (%d): set control.socket to a path in a folder of your own, or to off", dir, st.Uid)
	case st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0:
		return fmt.Errorf("control.socket: others may write to the folder %s: chmod 700 it, or set control.socket to another path or to off", dir)
	}
	return nil
}

// free says whether path may be used: nothing is there, or the socket of a dead process.
func free(path string, replace bool) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control.socket: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("control.socket: %s is no socket: remove it, or set another path", path)
	}
	if replace {
		return nil
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("control.socket: %w", err)
	}
	defer c.Close()
	who := "another process"
	if cred, err := peerOf(c); err == nil {
		who = fmt.Sprintf("the process %d", cred.Pid)
	}
	return fmt.Errorf("control.socket: %s listens at %s: to take over from it start with --takeover %s, or set another node.name or control.socket", who, path, path)
}

// Alive says whether a process listens at a control socket.
func Alive(path string) bool {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// Path returns the file's name.
func (s *Socket) Path() string { return s.path }

// Close stops listening and removes the file, unless another process has replaced it.
func (s *Socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	_ = s.l.Close()
	if s.own() {
		_ = os.Remove(s.path)
	}
}

// accept returns the next connection of a process of this user, or of root. It returns
// an error when the socket is closed.
func (s *Socket) accept(refused func(cred *unix.Ucred)) (*net.UnixConn, *unix.Ucred, error) {
	for {
		s.mu.Lock()
		l := s.l
		s.mu.Unlock()
		c, err := l.AcceptUnix()
		if err != nil {
			s.mu.Lock()
			restored := !s.closed && s.l != l
			s.mu.Unlock()
			if restored {
				continue
			}
			return nil, nil, err
		}
		cred, err := peerOf(c)
		if err == nil && (cred.Uid == uint32(os.Geteuid()) || cred.Uid == 0) {
			return c, cred, nil
		}
		_ = c.Close()
		if err == nil {
			refused(cred)
		}
	}
}

// peerOf returns who has made the other end of a connection (SO_PEERCRED): of a
// connected socket the process that connected, of a client's the one that listens.
func peerOf(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return cred, errors.Join(cerr, err)
}

// fileOf makes a file of a descriptor, which it owns from then on.
func fileOf(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }
