package conformance

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Line is one call that a guest is told to make.
type Line struct {
	Var    string // the variable that gets the answer's handle, id or cursor
	Op     string
	Fields []Field
}

// Field is one argument of a call.
type Field struct {
	Key   string
	Text  string // the value, or
	Ref   string // the variable whose value it is
	Times int    // more than 1: the value is this many times the text
	Pad   int    // this many x follow the text
}

var (
	assignment = regexp.MustCompile(`^([a-z][a-z0-9]*) = `)
	reference  = regexp.MustCompile(`^\$([a-z][a-z0-9]*)$`)
	embedded   = regexp.MustCompile(`\$\{([a-z][a-z0-9]*)\}`)
	span       = regexp.MustCompile(`\{(\d+)\.\.(\d+)\}`)
)

// parseLine reads "VAR = OP KEY=VALUE …"; doc.go describes values.
func parseLine(s string) (l Line, err error) {
	if m := assignment.FindStringSubmatch(s); m != nil {
		l.Var, s = m[1], s[len(m[0]):]
	}
	words, err := split(s)
	if err != nil {
		return l, err
	}
	l.Op = words[0]
	for _, w := range words[1:] {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return l, fmt.Errorf("%q is no KEY=VALUE", w)
		}
		f := Field{Times: 1}
		again := 1
		var many string
		if f.Key, many, ok = strings.Cut(key, "*"); ok {
			f.Times, err = strconv.Atoi(many)
		} else if f.Key, many, ok = strings.Cut(key, "+"); ok {
			f.Pad, err = strconv.Atoi(many)
		} else if f.Key, many, ok = strings.Cut(key, "#"); ok {
			again, err = strconv.Atoi(many)
		}
		if err != nil {
			return l, err
		}
		for range again {
			l.Fields = append(l.Fields, f.spread(value)...)
		}
	}
	return l, nil
}

// spread returns the field once, or once for each number of a {A..B} in it.
func (f Field) spread(value string) []Field {
	m := span.FindStringSubmatchIndex(value)
	if m == nil {
		if r := reference.FindStringSubmatch(value); r != nil {
			f.Ref = r[1]
		} else {
			f.Text = value
		}
		return []Field{f}
	}
	from, _ := strconv.Atoi(value[m[2]:m[3]])
	to, _ := strconv.Atoi(value[m[4]:m[5]])
	var all []Field
	for n := from; n <= to; n++ {
		g := f
		g.Text = value[:m[0]] + strconv.Itoa(n) + value[m[1]:]
		all = append(all, g)
	}
	return all
}

// split cuts a line into words. A part in single quotes is taken as it is, one
// in double quotes as Go reads it.
func split(s string) (words []string, err error) {
	var word strings.Builder
	inside := false
	for len(s) > 0 {
		switch s[0] {
		case ' ':
			if inside {
				words, inside = append(words, word.String()), false
				word.Reset()
			}
			s = s[1:]
			continue
		case '\'':
			text, rest, ok := strings.Cut(s[1:], "'")
			if !ok {
				return nil, fmt.Errorf("a quote is not closed: %s", s)
			}
			word.WriteString(text)
			s = rest
		case '"':
			q, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, fmt.Errorf("%w: %s", err, s)
			}
			text, err := strconv.Unquote(q)
			if err != nil {
				return nil, err
			}
			word.WriteString(text)
			s = s[len(q):]
		default:
			word.WriteByte(s[0])
			s = s[1:]
		}
		inside = true
	}
	if inside {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("no call stands here")
	}
	return words, nil
}

// encode writes the line as guests read it: VAR, OP and fields, with tabs
// between. Variables are filled in, but those that an earlier line of the same
// invocation sets, which only the guest knows yet.
func (l Line) encode(vars map[string]string, own map[string]bool) string {
	var b strings.Builder
	b.WriteString(l.Var + "\t" + l.Op)
	for _, f := range l.Fields {
		b.WriteString("\t" + f.Key)
		if f.Times != 1 {
			b.WriteString("*" + strconv.Itoa(f.Times))
		} else if f.Pad > 0 {
			b.WriteString("+" + strconv.Itoa(f.Pad))
		}
		if f.Ref != "" {
			if v, ok := vars[f.Ref]; ok && !own[f.Ref] {
				b.WriteString("=" + escape(v))
			} else {
				b.WriteString("$=" + f.Ref)
			}
			continue
		}
		b.WriteString("=" + escape(embedded.ReplaceAllStringFunc(f.Text, func(s string) string {
			return vars[s[2:len(s)-1]]
		})))
	}
	return b.String()
}

// escape writes a value as it travels between driver and guests.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// unescape reads what escape wrote. Whatever is no escape is taken as it is.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
