package bench

import "fmt"

// documentHead begins a document; the payload follows.
const documentHead = `{"id":"`

// MinDocument is the size of the smallest document, in bytes.
const MinDocument = len(documentHead) + MinPayload + len(documentItems) + len(documentTail)

const (
	documentItems = `","items":[`
	documentTail  = `],"end":""}`
)

// AppendDocument appends size bytes of JSON, MinDocument to MaxFrame-1, that hold
// what AppendMessage writes: Wire.Wrapped finds it, and the checksum covers the
// document from there on. The items are as repetitive as those of an API, so a
// document of 4 KiB shrinks to about a quarter by compression.
func AppendDocument(dst []byte, m Message, size int) []byte {
	size = max(size, MinDocument)
	begin := len(dst)
	dst = append(dst, documentHead...)
	at := len(dst)
	dst = appendHeader(dst, m, size-len(documentHead))
	dst = append(dst, documentItems...)
	random := m.Seq | 1
	for n := 0; ; n++ {
		before := len(dst)
		if n > 0 {
			dst = append(dst, ',')
		}
		random = random*1664525 + 1013904223
		dst = fmt.Appendf(dst, `{"sku":"%08x","name":"%s","price":%d.%02d,"stock":%d,"open":%t}`, random,
			documentNames[random>>29], random>>8%900, random>>16%100, random>>12%5000, random>>20%2 == 0)
		if len(dst)-begin+len(documentTail) > size {
			dst = dst[:before]
			break
		}
	}
	dst = append(dst, documentTail[:len(documentTail)-2]...)
	for len(dst)-begin < size-2 {
		dst = append(dst, ' ')
	}
	dst = append(dst, documentTail[len(documentTail)-2:]...)
	seal(dst[at:])
	return dst
}

var documentNames = [8]string{"espresso", "flat white", "filter, large", "cortado", "cold brew", "chai", "mocha", "affogato"}
