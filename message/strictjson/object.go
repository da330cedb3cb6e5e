// Package strictjson reads and writes the JSON that the batches of the HTTP
// API and the commands of belfry.v1 have in common: objects with a few fields,
// and the target of a push.
//
// It is stricter than encoding/json. The names of fields are case-sensitive. A
// field that is given twice is an error, and so is half a surrogate pair, which
// encoding/json would replace by U+FFFD. So nothing that a client sends is
// ignored or altered silently. The package jsontext checks the syntax; it
// allocates nothing for a valid object.
//
// The functions may be called from several goroutines at once. They return
// copies, except where their comments say that a slice is borrowed.
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

// MaxFields is the largest number of fields of an object; every valid command
// and every valid line of a batch has fewer. Parse stops at a further field: on
// a shard, 64 KiB of small fields would take as long as 40 pushes.
const MaxFields = 16

// Errors of Parse that concern the whole object.
var (
	ErrUTF8          = errors.New("not valid UTF-8")
	ErrNotObject     = errors.New("not a JSON object")
	ErrTooManyFields = fmt.Errorf("more than %d fields", MaxFields)
)

// SyntaxError reports where an object is not valid JSON (RFC 8259).
type SyntaxError struct {
	Offset int64 // bytes before the error
	Detail string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not valid JSON at byte %d: %s", e.Offset, e.Detail)
}

// Field is a field of an object. Both slices are borrowed from the parsed bytes.
type Field struct {
	Name  []byte // without quotes and escapes
	Value []byte // valid JSON as it was sent, without white space around it
}

// Object holds the fields of one JSON object. The zero value has no fields.
type Object struct {
	// MaxTokens is how many JSON tokens the objects and arrays in the fields may
	// have in all; 0 means no limit. A bracket, a name, and a string, number,
	// boolean or null is a token each. Reading one takes about as long as 80 bytes
	// of a string, and 64 KiB can have 32,000 tokens.
	MaxTokens int

	fields [MaxFields]Field
	n      int
}

// Fields returns the fields in the order of the input, valid until the next
// Parse. If a field was given more than once, only the first is listed.
func (o *Object) Fields() []Field { return o.fields[:o.n] }

// Value returns the value of the named field, nil if the object does not have it.
func (o *Object) Value(name string) []byte {
	for _, f := range o.Fields() {
		if string(f.Name) == name {
			return f.Value
		}
	}
	return nil
}

// Parse reads p, which must contain one object and nothing else. The fields are
// borrowed from p. Errors: ErrUTF8, ErrNotObject, ErrTooManyFields, a
// *SyntaxError, and a *message.FieldError for a field that is given more than
// once or in which MaxTokens is exceeded. After an error the object has the
// fields that precede it. A field precedes it only if a comma or brace follows:
// of "01", which is no number, the decoder reads 0 before it finds the error.
func (o *Object) Parse(p []byte) error {
	o.n = 0
	if !utf8.Valid(p) {
		return ErrUTF8
	}
	d := newDecoder(p)
	defer d.release()
	d.max, d.left = o.MaxTokens, o.MaxTokens
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
		if err == errTokens {
			return o.tooManyTokens(unquoteName(name))
		}
		if err != nil {
			return syntaxError(err)
		}
		if !endsField(p[d.InputOffset():]) {
			continue // the next token is an error
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

// errTokens is the error of decoder.next for more than Object.MaxTokens.
var errTokens = errors.New("too many tokens")

func (o *Object) tooManyTokens(name []byte) error {
	return &message.FieldError{Field: Shorten(string(name)), Detail: fmt.Sprintf("more than %d JSON tokens; "+
		"allowed are 0 to %d in the objects and arrays of all fields: shorten the lists, or send the JSON as text in one string", o.MaxTokens, o.MaxTokens)}
}

// endsField returns whether the value before p is a whole one.
func endsField(p []byte) bool {
	for _, c := range p {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == ',' || c == '}'
		}
	}
	return false
}

// unquoteName returns the name that a JSON string stands for. It replaces half a
// surrogate pair by U+FFFD: no known field has that in its name, so the caller
// refuses the field as unknown.
func unquoteName(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	name, _ := jsontext.AppendUnquote(nil, raw)
	return name
}

// Shorten cuts text of a client to at most 32 bytes and an ellipsis. Errors
// contain it, and an answer must not send a megabyte back to the client.
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

// decoder reads tokens and values from a slice without copying it.
type decoder struct {
	jsontext.Decoder
	src  bytes.Buffer // the decoder reads a bytes.Buffer without copying it
	max  int          // Object.MaxTokens
	left int          // of max
}

// decoders has decoders that are ready to use: release resets them.
var decoders = sync.Pool{New: func() any {
	d := new(decoder)
	d.reset()
	return d
}}

// jsontext does not check for duplicate names: Parse does that for the object
// that it reads, and passes nested objects on unchanged. jsontext does not check
// UTF-8 either: Parse does. Half a surrogate pair, which jsontext would refuse
// as well, is an error where a string is read, and allowed in a nested value.
var (
	allowDuplicates  = jsontext.AllowDuplicateNames(true)
	allowInvalidUTF8 = jsontext.AllowInvalidUTF8(true)
)

func newDecoder(p []byte) *decoder {
	d := decoders.Get().(*decoder)
	d.src = *bytes.NewBuffer(p)
	return d
}

// release returns the decoder to the pool. The decoder must not keep a reference
// to its input: that may be a mapping outside the Go heap, which the caller of
// Parse frees afterwards.
func (d *decoder) release() {
	d.reset()
	decoders.Put(d)
}

func (d *decoder) reset() {
	d.src, d.max, d.left = bytes.Buffer{}, 0, 0
	d.Reset(&d.src, allowDuplicates, allowInvalidUTF8)
}

// next returns the next value as a slice of p, the decoder's input. For objects
// and arrays it calls skip, which needs no stack; ReadValue recurses into them, up
// to 10,000 levels deep.
func (d *decoder) next(p []byte) ([]byte, error) {
	start := d.InputOffset()
	if k := d.PeekKind(); k != '{' && k != '[' {
		value, err := d.ReadValue()
		end := d.InputOffset()
		return p[end-int64(len(value)) : end : end], err
	}
	if err := d.skip(); err != nil {
		return nil, err
	}
	return bytes.TrimLeft(p[start:d.InputOffset():d.InputOffset()], " \t\r\n:,"), nil
}

// skip reads an object or an array. Its error is errTokens if that takes more
// tokens than are left.
func (d *decoder) skip() error {
	if d.max == 0 {
		return d.SkipValue()
	}
	for depth := d.StackDepth(); d.left > 0; {
		d.left--
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		if d.StackDepth() == depth {
			return nil
		}
	}
	return errTokens
}
