package host

import "fmt"

// tlsFiles returns the descriptors that TLS connections take beyond one each.
func (w *Want) tlsFiles() int64 { return w.TLS * (TLSDescriptors - 1) }

func (w *Want) tlsBytes() int64 { return w.TLS * TLSBytes }

// Limits above which a proxy should do TLS.
const (
	manyTLS  = 50_000
	tlsShare = 4 // of memory, one in so many
)

// tlsCost says what TLS connections take, and when a proxy in front is better.
func tlsCost(f *Facts, w *Want) Finding {
	memory := f.Memory()
	return advice(w.TLS <= manyTLS && (memory == 0 || w.tlsBytes() <= memory/tlsShare), Finding{
		Name:  "TLS in this process",
		Value: fmt.Sprintf("up to %s connections, %s", Thousands(w.TLS), size(w.tlsBytes())),
		Why:   fmt.Sprintf("a TLS connection takes about %d KiB and %d open files, and a message to it costs several times as much; a proxy in front costs belfry none of that", TLSBytes>>10, TLSDescriptors),
		Fix:   "cat docs/tls.md deploy/nginx/*.conf   # let a proxy do TLS, or lower tls.max_connections",
	})
}
