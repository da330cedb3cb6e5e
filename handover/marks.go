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

// newMarks makes marks for a number of shards with as many slots each.
func newMarks(shards, slots int) (*Marks, error) {
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
	return openMarks(fd, slots)
}

// openMarks maps marks that another process has made. It owns fd from then on.
func openMarks(fd, slots int) (*Marks, error) {
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

// Of returns the bytes of a shard, one for each slot. They are valid until Close.
func (m *Marks) Of(shard int) []byte { return m.bytes[shard*m.slots : (shard+1)*m.slots] }

// Close gives the memory back. Nobody may use Of any more.
func (m *Marks) Close() {
	_ = unix.Munmap(m.bytes)
	_ = unix.Close(m.fd)
}
