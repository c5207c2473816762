package main

import (
	"time"

	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/process"
	"github.com/astrid-os/processledger/guest/sys"
)

// ops are the calls that belong to no handle.
var ops = map[string]func(line) (fields, error){
	"attach":         func(l line) (fields, error) { h, err := l.id().Attach(); return keep(l, h, err) },
	"list-processes": func(l line) (fields, error) { list, err := process.List(l.get("label")); return infos(list, err) },
	"status": func(l line) (fields, error) {
		i, err := l.id().Status()
		return info(i), err
	},
	"status-many": func(l line) (fields, error) {
		var ids []process.ID
		for _, id := range l.all("id") {
			ids = append(ids, process.ID(id))
		}
		list, err := process.StatusMany(ids...)
		return infos(list, err)
	},
	"read-logs":  func(l line) (fields, error) { g, err := l.id().ReadLogs(); return logs(g, err) },
	"read-since": readSince,
	"write-stdin": func(l line) (fields, error) {
		n, err := l.id().WriteStdin([]byte(l.get("data")))
		return fields{{"n", n}}, err
	},
	"close-stdin":     func(l line) (fields, error) { return nil, l.id().CloseStdin() },
	"signal":          func(l line) (fields, error) { return nil, l.id().Signal(signals[l.get("sig")]) },
	"wait":            func(l line) (fields, error) { e, err := l.id().WaitFor(l.millis("ms")); return ended(e, err) },
	"stop":            stop,
	"release-process": func(l line) (fields, error) { return nil, l.id().Release() },
	"watch":           func(l line) (fields, error) { return nil, l.id().Watch(l.get("suffix")) },
	"unwatch":         func(l line) (fields, error) { return nil, l.id().Unwatch() },

	"get-config": func(l line) (fields, error) {
		v, found, err := sys.Config(l.get("key"))
		if !found {
			v = "-"
		}
		return fields{{"value", v}}, err
	},
	"get-caller": func(line) (fields, error) {
		c, err := sys.Caller()
		return fields{{"principal", c.Principal}, {"source-id", c.SourceID}, {"timestamp", c.Timestamp}}, err
	},
	"log":          func(l line) (fields, error) { sys.Log(levels[l.get("level")], l.get("message")); return nil, nil },
	"signal-ready": func(line) (fields, error) { sys.SignalReady(); return nil, nil },
	"clock-ms":     func(line) (fields, error) { return fields{{"clock", sys.Now().UnixMilli()}}, nil },
	"clock-monotonic-ns": func(line) (fields, error) {
		a := sys.Monotonic()
		return fields{{"forward", sys.Monotonic()-a < time.Minute}}, nil
	},
	"sleep-ns": func(l line) (fields, error) {
		began, d := sys.Monotonic(), time.Duration(l.number("ns"))
		err := sys.Sleep(d)
		return fields{{"slept", sys.Monotonic()-began >= d}}, err
	},
	"random-bytes": func(l line) (fields, error) {
		b, err := sys.Random(int(l.number("n")))
		return fields{{"n", len(b)}}, err
	},
	"check-capsule-capability": func(l line) (fields, error) {
		ok, err := sys.Allowed(l.get("source"), l.get("capability"))
		return fields{{"allowed", ok}}, err
	},
	"enumerate-capabilities": func(line) (f fields, _ error) {
		for _, c := range sys.Capabilities() {
			f = append(f, fieldOf{"capability", c})
		}
		return f, nil
	},

	"publish": func(l line) (fields, error) { return nil, ipc.Publish(l.get("topic"), []byte(l.get("payload"))) },
	"publish-as": func(l line) (fields, error) {
		return nil, ipc.PublishAs(l.get("topic"), []byte(l.get("payload")), l.get("as"))
	},
	"subscribe":             func(l line) (fields, error) { s, err := ipc.Subscribe(l.get("topic")); return keep(l, s, err) },
	"s.poll":                func(l line) (fields, error) { e, err := l.messages().Poll(); return envelope(e, err) },
	"s.recv":                func(l line) (fields, error) { e, err := l.messages().Recv(l.millis("ms")); return envelope(e, err) },
	"s.subscribe-readiness": func(l line) (fields, error) { p, err := l.messages().SubscribeReadiness(); return keep(l, p, err) },
	"s.drop":                func(l line) (fields, error) { l.messages().Drop(); return nil, nil },
	"get-interceptor-bindings": func(line) (f fields, err error) {
		list, err := ipc.Bindings()
		for _, b := range list {
			f = append(f, fieldOf{"item", ""}, fieldOf{"action", b.Action}, fieldOf{"topic", b.Topic})
		}
		return f, err
	},

	"count": func(line) (fields, error) { calls++; return fields{{"calls", calls}}, nil },
	"spin": func(line) (fields, error) {
		for {
		}
	},
	"trap": func(line) (fields, error) { panic("told to trap") },
}

var levels = map[string]sys.Level{"trace": sys.LevelTrace, "debug": sys.LevelDebug, "info": sys.LevelInfo, "warn": sys.LevelWarn, "error": sys.LevelError}

func readSince(l line) (fields, error) {
	stream := process.Stdout
	if l.get("stream") == "stderr" {
		stream = process.Stderr
	}
	c, err := l.id().ReadSince(stream, process.Cursor(l.get("cursor")), uint32(l.number("max")))
	if err != nil {
		return nil, err
	}
	return append(append(fields{{"data", c.Data}}, value(l, "next", string(c.Next))...), fieldOf{"dropped", c.Dropped}, fieldOf{"eof", c.EOF}), nil
}

func stop(l line) (fields, error) {
	if l.has("grace") {
		e, err := l.id().StopWithin(l.millis("grace"))
		return ended(e, err)
	}
	e, err := l.id().Stop()
	return ended(e, err)
}

func request(l line) process.Request {
	r := process.Request{
		Cmd: l.get("cmd"), Args: l.all("arg"), Dir: l.get("cwd"), Label: l.get("label"),
		KeepStdinOpen: l.get("keep-stdin-open") == "true", RingBytes: uint32(l.number("log-ring-bytes")),
		Lifetime: l.millis("max-lifetime-ms"), Idle: l.millis("idle-timeout-ms"), Retention: l.millis("exit-retention-ms"),
	}
	if l.has("stdin") {
		r.Stdin = []byte(l.get("stdin"))
	}
	for _, e := range l.all("env") {
		k, v := cut(e)
		r.Env = append(r.Env, process.Var{Key: k, Value: v})
	}
	for _, f := range l.all("file-env") {
		k, v := cut(f)
		r.Files = append(r.Files, process.File{Env: k, Content: []byte(v)})
	}
	for _, f := range l.all("file-path") {
		k, v := cut(f)
		r.Files = append(r.Files, process.File{Path: k, Content: []byte(v)})
	}
	if l.has("mem") || l.has("cpu") || l.has("pids") || l.has("files") {
		r.Limits = &process.Limits{MemoryBytes: l.number("mem"), CPUSeconds: l.number("cpu"), Processes: uint32(l.number("pids")), OpenFiles: uint32(l.number("files"))}
	}
	if l.get("overflow") == "backpressure" {
		r.Overflow = process.Backpressure
	}
	return r
}
