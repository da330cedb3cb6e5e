package poller

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"belfry/offheap"
)

// uring does many sends with one system call (man 7 io_uring, man 2
// io_uring_enter). It is a batch and not asynchronous: the kernel does a send that
// may not wait within io_uring_enter, and does them in order. So when the system
// call returns, all results are there and the kernel uses no buffer any more.
//
// It belongs to the thread that made it (IORING_SETUP_SINGLE_ISSUER).
type uring struct {
	fd      int32
	rings   []byte         // both rings, in one mapping
	entries []byte         // the mapping of sqes
	owner   *offheap.Owner // of the mappings
	sqes    []sqe
	cqes    []cqe

	sqHead, sqTail *uint32 // the kernel moves the head, this code the tail
	cqHead, cqTail *uint32 // this code moves the head, the kernel the tail
}

// sqe is struct io_uring_sqe, as far as IORING_OP_SEND reads it.
type sqe struct {
	opcode   uint8
	_        [3]uint8
	fd       int32
	_        uint64
	addr     uint64
	len      uint32
	msgFlags uint32
	userData uint64
	_        [24]byte
}

// cqe is struct io_uring_cqe.
type cqe struct {
	userData uint64
	res      int32
	_        uint32
}

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries uint32
	flags                uint32
	_                    [2]uint32
	features             uint32
	_                    [4]uint32
	sq                   struct{ head, tail, mask, entries, flags, dropped, array, _, _, _ uint32 }
	cq                   struct{ head, tail, mask, entries, overflow, cqes, flags, _, _, _ uint32 }
}

// From linux/io_uring.h and asm-generic/unistd.h.
const (
	uringSend         = 26      // IORING_OP_SEND
	uringSubmitAll    = 1 << 7  // IORING_SETUP_SUBMIT_ALL: go on after a send that fails
	uringSingleIssuer = 1 << 12 // IORING_SETUP_SINGLE_ISSUER, Linux 6.0
	uringDeferTaskrun = 1 << 13 // IORING_SETUP_DEFER_TASKRUN, Linux 6.1
	uringSingleMmap   = 1 << 0  // IORING_FEAT_SINGLE_MMAP
	uringGetEvents    = 1 << 0  // IORING_ENTER_GETEVENTS
	uringOffEntries   = 0x10000000
	sysUringSetup     = 425
	sysUringEnter     = 426
)

// newUring makes a ring for batches of up to n sends, a power of two. It fails if
// the kernel is older than 6.1 or does not permit it (kernel.io_uring_disabled,
// seccomp).
func newUring(owner *offheap.Owner, n int) (*uring, error) {
	p := uringParams{flags: uringSingleIssuer | uringDeferTaskrun | uringSubmitAll}
	fd, _, e := syscall.Syscall(sysUringSetup, uintptr(n), uintptr(unsafe.Pointer(&p)), 0) // close-on-exec by itself
	if e != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", e)
	}
	u := &uring{fd: int32(fd), owner: owner}
	if err := u.mmap(&p); err != nil {
		u.close()
		return nil, fmt.Errorf("io_uring: %w", err)
	}
	return u, nil
}

func (u *uring) mmap(p *uringParams) (err error) {
	if p.features&uringSingleMmap == 0 {
		return fmt.Errorf("features %#x", p.features)
	}
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	if u.rings, err = unix.Mmap(int(u.fd), 0, int(size), prot, flags); err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	u.owner.Add(len(u.rings))
	if u.entries, err = unix.Mmap(int(u.fd), uringOffEntries, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})), prot, flags); err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	u.owner.Add(len(u.entries))
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&u.rings[off])) }
	u.sqHead, u.sqTail, u.cqHead, u.cqTail = at(p.sq.head), at(p.sq.tail), at(p.cq.head), at(p.cq.tail)
	u.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&u.entries[0])), p.sqEntries)
	u.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(at(p.cq.cqes))), p.cqEntries)
	// The submission ring holds indexes of entries; entry i is always at place i.
	array := unsafe.Slice(at(p.sq.array), p.sqEntries)
	for i := range array {
		array[i] = uint32(i)
	}
	return nil
}

func (u *uring) close() {
	u.owner.Add(-len(u.rings) - len(u.entries))
	if u.rings != nil {
		_ = unix.Munmap(u.rings)
	}
	if u.entries != nil {
		_ = unix.Munmap(u.entries)
	}
	sysClose(u.fd)
}

// prepare makes p send i of the next batch. The caller must keep p alive until
// submit has returned: the collector does not see the ring's reference to it.
func (u *uring) prepare(i int, fd int32, p []byte) {
	u.sqes[(*u.sqTail+uint32(i))%uint32(len(u.sqes))] = sqe{opcode: uringSend, fd: fd, msgFlags: sendFlags,
		addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))), len: uint32(len(p)), userData: uint64(i)}
}

// submit does the first len(results) sends, and sets the result of each to what
// send(2) would have returned: the bytes that the kernel took, or -errno. It
// returns how many sends the kernel did; if it was short of memory, it did not
// touch the others. After an error the ring must be closed.
func (u *uring) submit(results []int32) (taken int, lasting syscall.Errno) {
	*u.sqTail += uint32(len(results)) // the system call makes the kernel see it
	n, _, e := syscall.RawSyscall6(sysUringEnter, uintptr(u.fd), uintptr(len(results)), 0, 0, 0, 0)
	switch e {
	case 0:
		taken = int(n)
	case unix.EINTR, unix.EAGAIN, unix.EBUSY:
	default:
		lasting = e
	}
	*u.sqTail = atomic.LoadUint32(u.sqHead) // sends that the kernel did not take are withdrawn
	for i := range results[:taken] {
		results[i] = -int32(unix.EIO) // closes the connection if its result should never come
	}
	for got := 0; got < taken; {
		head, tail := *u.cqHead, atomic.LoadUint32(u.cqTail)
		if head == tail { // should not happen, since no send waits
			_, _, e := syscall.RawSyscall6(sysUringEnter, uintptr(u.fd), 0, 1, uringGetEvents, 0, 0)
			if e != 0 && e != unix.EINTR {
				return taken, e
			}
			continue
		}
		for ; head != tail; head++ {
			c := &u.cqes[head%uint32(len(u.cqes))]
			results[c.userData] = c.res
			got++
		}
		atomic.StoreUint32(u.cqHead, head)
	}
	return taken, lasting
}
