// Package offheap has containers in anonymous memory that the Go collector never
// sees. A node with a million sessions has several million records. On the Go
// heap every collection would visit them, and GOGC would let them take twice the
// memory.
//
// A container reserves address space for the most it may ever hold, and the kernel
// supplies pages when they are first used. So records are never copied when a
// container grows, and their numbers and addresses stay valid. (A Table moves its
// entries, a few with each operation, and a small vector moves when it grows.)
// Records are numbered, and the lowest free number is used first. So pages become
// empty when clients leave, and Trim gives these pages back. Every container has
// an Owner, which counts its bytes for the metrics.
//
// Caveats: Records must not hold Go pointers. (The items of an Index may: they are
// on the Go heap.) A container belongs to one goroutine. Trim must be called
// regularly. Close unmaps the memory: a later use of a pointer or slice into it
// ends the process. A container that is not closed keeps its memory, because there
// are no finalizers.
package offheap
