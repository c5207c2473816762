package powercut

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var errEnds = errors.New("the line ends within an argument")

// readArgs splits the arguments of a call. rest is what follows the closing
// bracket; of a call that has not returned it is empty.
func readArgs(text string) (args []Arg, rest string, err error) {
	for {
		text = strings.TrimLeft(text, ", ")
		if text == "" {
			return args, "", nil
		}
		if text[0] == ')' {
			return args, text[1:], nil
		}
		a, left, err := readArg(text)
		if err != nil {
			return nil, "", err
		}
		args, text = append(args, a), left
	}
}

// readArg reads one argument, up to the comma or bracket behind it.
func readArg(text string) (a Arg, rest string, err error) {
	a.FD = -1
	if fd, n := descriptor(text); n > 0 && strings.HasPrefix(text[n:], "<") {
		a.FD = fd
		end, gone := annotation(text[n:])
		if end < 0 {
			return a, "", errEnds
		}
		a.Path, a.Gone = text[n+1:n+end], gone
	}
	depth, i := 0, 0
	for i < len(text) {
		switch text[i] {
		case '"':
			s, n, err := readString(text[i:])
			if err != nil {
				return a, "", err
			}
			if depth == 0 || strings.HasSuffix(text[:i], "iov_base=") {
				a.Str = append(a.Str, s...)
			}
			i += n
			continue
		case '<':
			end, _ := annotation(text[i:])
			if end < 0 {
				return a, "", errEnds
			}
			i += end
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth == 0 {
				a.Raw = text[:i]
				return a, text[i:], nil
			}
			depth--
		case ',':
			if depth == 0 {
				a.Raw = text[:i]
				return a, text[i:], nil
			}
		}
		i++
	}
	a.Raw = text
	return a, "", nil
}

// descriptor returns the number that text begins with, and its length; 0: none.
func descriptor(text string) (fd, n int) {
	if strings.HasPrefix(text, "AT_FDCWD") {
		return AtCWD, len("AT_FDCWD")
	}
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	fd, err := strconv.Atoi(text[:n])
	if err != nil {
		return 0, 0
	}
	return fd, n
}

// annotation finds the end of what stands in <…> at the start of text: the '>'
// behind which an argument can end. What it names may hold others.
func annotation(text string) (end int, gone bool) {
	for i := 1; i < len(text); i++ {
		if text[i] != '>' {
			continue
		}
		next := text[i+1:]
		if strings.HasPrefix(next, "(deleted)") {
			return i, true
		}
		if next == "" || strings.ContainsRune(",)]} ", rune(next[0])) {
			return i, false
		}
	}
	return -1, false
}

// readString reads a quoted string with C's escapes and returns its length in
// the text. A string that strace cut is an error: the trace is of no use then.
func readString(text string) (s []byte, n int, err error) {
	for n = 1; n < len(text); {
		switch c := text[n]; c {
		case '"':
			if strings.HasPrefix(text[n+1:], "...") {
				return nil, 0, fmt.Errorf("a string of the trace is cut after %d bytes", len(s))
			}
			return s, n + 1, nil
		case '\\':
			b, used, err := escape(text[n+1:])
			if err != nil {
				return nil, 0, err
			}
			s = append(s, b)
			n += 1 + used
		default:
			s = append(s, c)
			n++
		}
	}
	return nil, 0, errEnds
}

// escape reads what stands behind a backslash.
func escape(text string) (b byte, used int, err error) {
	if text == "" {
		return 0, 0, errEnds
	}
	if i := strings.IndexByte(`ntrvfab"\'`, text[0]); i >= 0 {
		return "\n\t\r\v\f\a\b\"\\'"[i], 1, nil
	}
	value := 0
	for used < 3 && used < len(text) && text[used] >= '0' && text[used] <= '7' {
		value = value*8 + int(text[used]-'0')
		used++
	}
	if used == 0 || value > 255 {
		return 0, 0, fmt.Errorf("unknown escape %.4q", text)
	}
	return byte(value), used, nil
}
