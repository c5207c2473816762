package main

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/process"
)

// line is one line of a script: VAR, OP and KEY=VALUE, with tabs between.
type line struct {
	name, op string
	fields   [][2]string
}

// vars live as long as the instance.
var vars = map[string]string{}

// parse reads a line. KEY*N=VALUE is N times the value, KEY+N=VALUE has N times
// x behind it, and KEY$=VAR is a variable's.
func parse(text string) (l line) {
	words := strings.Split(text, "\t")
	l.name, l.op = words[0], words[1]
	for _, w := range words[2:] {
		key, v := cut(w)
		sign := strings.IndexAny(key, "*+$")
		if sign < 0 {
			l.fields = append(l.fields, [2]string{key, unescape(v)})
			continue
		}
		n, _ := strconv.Atoi(key[sign+1:])
		switch key[sign] {
		case '*':
			v = strings.Repeat(unescape(v), n)
		case '+':
			v = unescape(v) + strings.Repeat("x", n)
		default:
			v = vars[v]
		}
		l.fields = append(l.fields, [2]string{key[:sign], v})
	}
	return l
}

func cut(s string) (key, value string) { key, value, _ = strings.Cut(s, "="); return key, value }

func (l line) all(key string) (all []string) {
	for _, f := range l.fields {
		if f[0] == key {
			all = append(all, f[1])
		}
	}
	return all
}

func (l line) has(key string) bool { return l.all(key) != nil }

func (l line) get(key string) string {
	if all := l.all(key); all != nil {
		return all[0]
	}
	return ""
}

func (l line) number(key string) uint64 {
	n, _ := strconv.ParseUint(l.get(key), 10, 64)
	return n
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			b.WriteByte(byte(n))
			i += 2
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func escape(s []byte) string {
	var b bytes.Buffer
	for _, c := range s {
		if c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// fields are what a call returned, as they are written.
type fields []fieldOf

type fieldOf struct {
	key   string
	value any
}

// long values are told by their length, the FNV-1a sum of bytes spread over
// them, and their last 8 bytes.
const long = 2048

func (f fields) text() string {
	var b strings.Builder
	for _, x := range f {
		v, ok := x.value.([]byte)
		if !ok {
			v = fmt.Append(nil, x.value)
		}
		if len(v) <= long {
			b.WriteString("\t" + x.key + "=" + escape(v))
			continue
		}
		sum := fnv.New32a()
		for i := 0; i < len(v); i += len(v) / long {
			sum.Write(v[i : i+1])
		}
		fmt.Fprintf(&b, "\t%s#=%d:%08x:%s", x.key, len(v), sum.Sum32(), escape(v[len(v)-8:]))
	}
	return b.String()
}

func exit(e *process.Exit) string {
	if e == nil {
		return "-"
	}
	var parts []string
	if e.Code != nil {
		parts = append(parts, fmt.Sprintf("code:%d", *e.Code))
	}
	if e.Signal != nil {
		parts = append(parts, fmt.Sprintf("signal:%d", *e.Signal))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ",")
}

func ended(e process.Exit, err error) (fields, error) { return fields{{"exit", exit(&e)}}, err }

func result(r *process.Result, err error) (fields, error) {
	if err != nil {
		return nil, err
	}
	return fields{{"stdout", r.Stdout}, {"stderr", r.Stderr}, {"exit", exit(&r.Exit)}}, nil
}

func logs(g process.Logs, err error) (fields, error) {
	return fields{{"stdout", g.Stdout}, {"stderr", g.Stderr}, {"running", g.Running}, {"exit", exit(g.Exit)}}, err
}

func info(i process.Info) fields {
	pid, cpu, peak := any("-"), any("-"), any("-")
	if i.OSPid != 0 {
		pid = i.OSPid
	}
	if i.CPU != nil {
		cpu = i.CPU.Milliseconds()
	}
	if i.MemoryPeak != nil {
		peak = *i.MemoryPeak
	}
	return fields{
		{"id", i.ID}, {"label", i.Label}, {"command", i.Command}, {"os-pid", pid}, {"phase", i.Phase}, {"exit", exit(i.Exit)},
		{"age-ms", i.Age.Milliseconds()}, {"idle-ms", i.Idle.Milliseconds()}, {"buffered-bytes", i.Buffered},
		{"bytes-dropped", i.Dropped}, {"stdin-open", i.StdinOpen}, {"cpu-ms", cpu}, {"mem-bytes-peak", peak},
	}
}

func infos(list []process.Info, err error) (f fields, _ error) {
	for _, i := range list {
		f = append(append(f, fieldOf{"item", ""}), info(i)...)
	}
	return f, err
}

var attributions = map[ipc.Attribution]string{ipc.Verified: "verified", ipc.Claimed: "claimed", ipc.System: "system"}

func envelope(e ipc.Envelope, err error) (fields, error) {
	f := fields{{"dropped", e.Dropped}, {"lagged", e.Lagged}}
	for _, m := range e.Messages {
		f = append(f, fieldOf{"item", ""}, fieldOf{"topic", m.Topic}, fieldOf{"payload", m.Payload}, fieldOf{"source", m.SourceID},
			fieldOf{"by", attributions[m.Principal.Attribution]})
		if m.Principal.Attribution != ipc.System {
			f = append(f, fieldOf{"principal", m.Principal.Name})
		}
	}
	return f, err
}
