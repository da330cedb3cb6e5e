// Package offheap has containers in anonymous memory that the Go collector never
// sees. A node with a million sessions has several million records. On the Go
// heap every collection would visit them, and GOGC would let them take twice the
// memory.
//
// A container reserves address space for the most it may ever hold, and the
// kernel supplies pages as they are used. So records are never copied in order
// to grow, and their numbers and addresses stay valid. (A Table moves its
// entries, a few with each operation, and a small vector moves when it grows.)
// Records go by number, the lowest free number first, so
// that pages fall empty when clients leave; Trim gives these pages back. Every
// container has an Owner, which counts its bytes for the metrics.
//
// Caveats: What a container keeps must not hold Go pointers; Index, whose items
// are on the Go heap, is the one exception. A container belongs to one
// goroutine. Trim has to be called again and again, from a tick. Close unmaps the
// memory: the use of a pointer or slice into it afterwards ends the process. A
// container that is not closed keeps its memory; there are no finalizers.
package offheap
