package handover

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Marks is memory that both processes see: a byte for each slot of each shard, in which
// the successor notes what the old process could not know if the successor died. Pages
// that nobody writes to take no memory.
type Marks struct {
	slots int
	bytes []byte
	fd    int
}

// NewMarks makes marks for a number of shards with as many slots each.
func NewMarks(shards, slots int) (*Marks, error) {
	fd, err := unix.MemfdCreate("belfry-handover", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("handover: memfd: %w", err)
	}
	if err := unix.Ftruncate(fd, int64(shards)*int64(slots)); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("handover: memfd: %w", err)
	}
	// A file that shrank would end the other process with SIGBUS.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("handover: memfd: %w", err)
	}
	return OpenMarks(fd, slots)
}

// OpenMarks maps marks that another process has made. It owns fd from then on.
func OpenMarks(fd, slots int) (*Marks, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("handover: marks: %w", err)
	}
	if slots <= 0 || st.Size == 0 || st.Size%int64(slots) != 0 {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("handover: marks of %d bytes for %d slots", st.Size, slots)
	}
	b, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("handover: marks: %w", err)
	}
	return &Marks{slots, b, fd}, nil
}

// Bytes returns the bytes of all shards, those of shard 0 first. They are valid until
// Close.
func (m *Marks) Bytes() []byte { return m.bytes }

// FD returns the descriptor, which stays the marks'.
func (m *Marks) FD() int { return m.fd }

// Close gives the memory back. Nobody may use Bytes any more.
func (m *Marks) Close() {
	_ = unix.Munmap(m.bytes)
	_ = unix.Close(m.fd)
}
