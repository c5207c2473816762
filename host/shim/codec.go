//go:build linux

package shim

import "google.golang.org/protobuf/encoding/protowire"

// record is a message that names its fields, each once, for both directions.
type record interface{ fields(*codec) }

// codec goes over the fields of a record. Writing, it appends each; reading, it
// is led over all of them for every field on the wire, and sets the one that
// has its number.
type codec struct {
	out []byte

	reading bool
	n       protowire.Number
	v       value
	err     error
}

// encode returns the wire form of m. What is zero or empty is left out.
func encode(m record) []byte {
	c := &codec{}
	m.fields(c)
	return c.out
}

// decode reads into m what encode wrote, and skips fields that it does not know.
func decode(b []byte, m record) error {
	c := &codec{reading: true}
	return eachField(b, func(n protowire.Number, v value) error {
		c.n, c.v = n, v
		m.fields(c)
		return c.err
	})
}

// decoded is decode into a new record.
func decoded[T any, P interface {
	*T
	record
}](b []byte) (*T, error) {
	m := new(T)
	return m, decode(b, P(m))
}

// mine tells whether the field that is being read has the number n.
func (c *codec) mine(n protowire.Number) bool { return c.reading && c.n == n }

func number[T ~uint32 | ~uint64 | ~int64](c *codec, n protowire.Number, p *T) {
	if c.mine(n) {
		*p = T(c.v.num)
	} else if !c.reading {
		c.out = appendNum(c.out, n, uint64(*p))
	}
}

// small is a number of 32 bits with a sign, which has the bits of the unsigned
// one on the wire.
func small(c *codec, n protowire.Number, p *int32) {
	u := uint32(*p)
	number(c, n, &u)
	*p = int32(u)
}

func boolean(c *codec, n protowire.Number, p *bool) {
	if c.mine(n) {
		*p = c.v.num != 0
	} else if !c.reading {
		c.out = appendBool(c.out, n, *p)
	}
}

func text(c *codec, n protowire.Number, p *string) {
	if c.mine(n) {
		*p = c.v.text()
	} else if !c.reading {
		c.out = appendText(c.out, n, *p)
	}
}

func texts(c *codec, n protowire.Number, p *[]string) {
	if c.mine(n) {
		*p = append(*p, c.v.text())
		return
	}
	for i := 0; !c.reading && i < len(*p); i++ {
		c.out = appendElement(c.out, n, (*p)[i])
	}
}

func raw(c *codec, n protowire.Number, p *[]byte) {
	if c.mine(n) {
		*p = c.v.b
	} else if !c.reading {
		c.out = appendBytes(c.out, n, *p)
	}
}

// part is a record in a record; an empty one is left out.
func part(c *codec, n protowire.Number, m record) {
	if c.mine(n) {
		c.err = decode(c.v.b, m)
	} else if !c.reading {
		c.out = appendBytes(c.out, n, encode(m))
	}
}

// optional is a record whose presence says something.
func optional[T any, P interface {
	*T
	record
}](c *codec, n protowire.Number, p **T) {
	if c.mine(n) {
		*p, c.err = decoded[T, P](c.v.b)
	} else if !c.reading && *p != nil {
		c.out = appendMessage(c.out, n, encode(P(*p)))
	}
}

// list is any number of records.
func list[T any, P interface {
	*T
	record
}](c *codec, n protowire.Number, p *[]T) {
	if c.mine(n) {
		m, err := decoded[T, P](c.v.b)
		*p, c.err = append(*p, *m), err
		return
	}
	for i := 0; !c.reading && i < len(*p); i++ {
		c.out = appendMessage(c.out, n, encode(P(&(*p)[i])))
	}
}
