//go:build linux

package shim

import (
	"crypto/sha256"
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxMessage is the most bytes a message may have: room for the two longest
// paths that Linux knows (4 KiB each) and as much again, and well below the
// 208 KiB that it gives a unix socket by default.
const MaxMessage = 16 << 10

// Errors of decoding. They mean a damaged file or a peer that speaks another
// language; nothing was done.
var (
	ErrMalformed = errors.New("malformed shim message")
	ErrRecord    = errors.New("damaged shim record")
)

// value is one field's content: num for varints, b for bytes.
type value struct {
	num uint64
	b   []byte
}

func (v value) text() string { return string(v.b) }

// eachField calls fn for every varint and bytes field of b, in order, and skips
// the other wire types.
func eachField(b []byte, fn func(n protowire.Number, v value) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		var v value
		switch typ {
		case protowire.VarintType:
			v.num, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v.b, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		if typ != protowire.VarintType && typ != protowire.BytesType {
			continue
		}
		if err := fn(num, v); err != nil {
			return err
		}
	}
	return nil
}

// appendNum appends a varint field, unless it is zero.
func appendNum(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// appendBytes appends a bytes field, unless it is empty.
func appendBytes(b []byte, n protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return appendMessage(b, n, v)
}

// appendText appends a string field, unless it is empty.
func appendText(b []byte, n protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return appendElement(b, n, v)
}

// appendMessage appends a bytes field, also if it is empty: for messages whose
// presence says something.
func appendMessage(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

// appendElement appends a string field, also if it is empty: for lists.
func appendElement(b []byte, n protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func appendBool(b []byte, n protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendNum(b, n, 1)
}

// Numbers of the frame around a record in a file.
const (
	frameVersion = protowire.Number(1)
	frameBody    = protowire.Number(2)
	frameSum     = protowire.Number(3)
)

const sumLen = 8

// frame wraps a record for a file: version, body, and the first eight bytes of
// the body's SHA-256. Zero bytes after it are allowed, because the file of the
// exit record is allocated in full beforehand.
func frame(body []byte) []byte {
	sum := sha256.Sum256(body)
	b := appendNum(nil, frameVersion, ProtocolVersion)
	b = appendMessage(b, frameBody, body)
	return appendMessage(b, frameSum, sum[:sumLen])
}

// unframe returns the record inside the bytes of a file, or ErrRecord if they
// are cut, altered or no record at all.
func unframe(b []byte) (body []byte, err error) {
	var sum []byte
	for len(b) > 0 && sum == nil {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, ErrRecord
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return nil, ErrRecord
		}
		if v, _ := protowire.ConsumeBytes(b); typ == protowire.BytesType {
			switch num {
			case frameBody:
				body = v
			case frameSum:
				sum = v
			}
		}
		b = b[n:]
	}
	want := sha256.Sum256(body)
	if string(sum) != string(want[:sumLen]) {
		return nil, ErrRecord
	}
	return body, nil
}
