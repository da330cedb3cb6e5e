// Package strictjson reads and writes the JSON that the batches of the HTTP
// API and the commands of belfry.v1 have in common: objects with a few fields,
// and the target of a push.
//
// It is stricter than encoding/json: names of fields are matched with their
// case, a field that is given twice is an error, and so is half a surrogate
// pair, which encoding/json would turn into U+FFFD. So nothing that a client
// sends is without effect or altered without a word. The syntax itself is
// checked by jsontext, which allocates nothing for a valid object.
//
// The functions may be called from several goroutines at once. What they return
// is a copy, except where they say that it is borrowed.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"belfry/message"
)

// MaxFields is how many fields an object may have; no command and no line of a
// batch has as many. An object with more is not read to its end: on a shard,
// 64 KiB of small fields would take as long as 40 pushes.
const MaxFields = 16

// Errors of Parse that are not about syntax or about one field.
var (
	ErrUTF8          = errors.New("not valid UTF-8")
	ErrNotObject     = errors.New("not a JSON object")
	ErrTooManyFields = fmt.Errorf("more than %d fields", MaxFields)
)

// SyntaxError says where an object is not valid JSON (RFC 8259).
type SyntaxError struct {
	Offset int64 // bytes before the fault
	Detail string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not valid JSON at byte %d: %s", e.Offset, e.Detail)
}

// Field is a field of an object. Both slices are borrowed from what was parsed.
type Field struct {
	Name  []byte // without quotes and escapes
	Value []byte // as it is spelt: valid JSON without white space around it
}

// Object is the fields of one JSON object. The zero value has none.
type Object struct {
	fields [MaxFields]Field
	n      int
}

// Fields returns the fields in their order. A field that was given more than
// once is there once, with its first value.
func (o *Object) Fields() []Field { return o.fields[:o.n] }

// Value returns the value of a field, nil if the object does not have it.
func (o *Object) Value(name string) []byte {
	for _, f := range o.Fields() {
		if string(f.Name) == name {
			return f.Value
		}
	}
	return nil
}

// Parse reads p, which must hold one object and nothing else. The fields are
// borrowed from p. It returns ErrUTF8, ErrNotObject, ErrTooManyFields, a
// *SyntaxError, or for a field that is given more than once a
// *message.FieldError. After an error the object has the fields before the
// fault.
func (o *Object) Parse(p []byte) error {
	o.n = 0
	if !utf8.Valid(p) {
		return ErrUTF8
	}
	d := newDecoder(p)
	defer d.release()
	if d.PeekKind() != '{' {
		return ErrNotObject
	}
	if _, err := d.ReadToken(); err != nil {
		return syntaxError(err)
	}
	var repeated error
	for n := 0; d.PeekKind() != '}'; n++ {
		if n == MaxFields {
			return ErrTooManyFields
		}
		name, err := d.next(p)
		if err != nil {
			return syntaxError(err)
		}
		value, err := d.next(p)
		if err != nil {
			return syntaxError(err)
		}
		name = unquoteName(name)
		if o.Value(string(name)) != nil {
			repeated = &message.FieldError{Field: Shorten(string(name)), Detail: "given more than once"}
			continue
		}
		o.fields[o.n] = Field{name, value}
		o.n++
	}
	if _, err := d.ReadToken(); err != nil {
		return syntaxError(err)
	}
	if end := d.InputOffset(); len(bytes.TrimLeft(p[end:], " \t\r\n")) > 0 {
		return &SyntaxError{Offset: end, Detail: "something follows the object"}
	}
	return repeated
}

// unquoteName returns the name that a JSON string spells. Half a surrogate pair
// becomes U+FFFD: no field has such a name, so it is refused as unknown.
func unquoteName(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	name, _ := jsontext.AppendUnquote(nil, raw)
	return name
}

// Shorten cuts what a client sent for use in an error, so that an answer does
// not repeat a megabyte to the client.
func Shorten(s string) string {
	const most = 32
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func syntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return &SyntaxError{Detail: err.Error()}
	}
	detail := syntax.Err.Error()
	if syntax.Err == io.ErrUnexpectedEOF {
		detail = "it ends too early"
	}
	return &SyntaxError{Offset: syntax.ByteOffset, Detail: detail}
}

// decoder reads tokens and values straight from the bytes that it was given.
type decoder struct {
	jsontext.Decoder
	src bytes.Buffer // the decoder reads a bytes.Buffer without copying it
}

// decoders are ready to use: each was reset when it was released.
var decoders = sync.Pool{New: func() any {
	d := new(decoder)
	d.reset()
	return d
}}

// Parse compares names itself, and only those of the object that it reads:
// nested objects are passed on as they are. It also checks UTF-8 itself; what
// jsontext would refuse besides is half a surrogate pair, which is an error
// where a string is read, and passed on in a nested value.
var (
	allowDuplicates  = jsontext.AllowDuplicateNames(true)
	allowInvalidUTF8 = jsontext.AllowInvalidUTF8(true)
)

func newDecoder(p []byte) *decoder {
	d := decoders.Get().(*decoder)
	d.src = *bytes.NewBuffer(p)
	return d
}

// release gives the decoder back. It must not keep a reference to the bytes:
// they may be a mapping outside the Go heap, which is freed after the call.
func (d *decoder) release() {
	d.reset()
	decoders.Put(d)
}

func (d *decoder) reset() {
	d.src = bytes.Buffer{}
	d.Reset(&d.src, allowDuplicates, allowInvalidUTF8)
}

// next returns the next value as a slice of p, which the decoder reads.
// ReadValue would go down into objects and arrays by recursion, up to 10,000
// levels deep; SkipValue needs no stack.
func (d *decoder) next(p []byte) ([]byte, error) {
	start := d.InputOffset()
	if k := d.PeekKind(); k != '{' && k != '[' {
		value, err := d.ReadValue()
		end := d.InputOffset()
		return p[end-int64(len(value)) : end : end], err
	}
	if err := d.SkipValue(); err != nil {
		return nil, err
	}
	return bytes.TrimLeft(p[start:d.InputOffset():d.InputOffset()], " \t\r\n:,"), nil
}
