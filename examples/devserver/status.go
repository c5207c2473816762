package main

import (
	"fmt"
	"strings"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/process"
	"github.com/astrid-os/processledger/guest/sys"
)

// suffix is what the topics of the servers' events end in; the manifest binds
// the handler below to it.
const suffix = "devserver"

// ended is a server that has ended, as the host told it.
type ended struct {
	Name   string `json:"name"`
	Reason string `json:"reason"` // self-exit, killed, reaped-ttl or reaped-shutdown
	Exit   string `json:"exit,omitempty"`
}

// maxNews bounds how many ends are kept for the next status.
const maxNews = 100

// news are the servers that have ended since the last status.
var news []ended

// serverEnded is the handler of what the host tells. It is called whoever's
// call started the server, and after a restart of the daemon too.
func serverEnded(payload []byte) ([]byte, error) {
	e, err := process.ParseEvent(payload)
	if err != nil {
		return nil, err
	}
	name, ours := strings.CutPrefix(e.Label, labelPrefix)
	if !ours {
		return nil, fmt.Errorf("the process %q is no server", e.Label)
	}
	end := ended{Name: name, Reason: e.Reason}
	if e.Exit != nil {
		end.Exit = e.Exit.String()
	}
	if e.Reason == process.SelfExit {
		sys.Log(sys.LevelWarn, fmt.Sprintf("the server %s has ended of itself: %s", name, end.Exit))
	}
	if news = append(news, end); len(news) > maxNews {
		news = news[1:]
	}
	return nil, nil
}

// overview is the answer of dev_status.
type overview struct {
	Servers []server `json:"servers"`
	Ended   []ended  `json:"ended"` // since the last time that this was asked
}

// status is the tool dev_status.
func status(c guest.Call) (any, error) {
	if err := c.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	all, err := process.List(labelPrefix)
	if err != nil {
		return nil, err
	}
	o := overview{Servers: []server{}, Ended: append([]ended{}, news...)}
	for _, i := range all {
		if strings.HasPrefix(i.Label, labelPrefix) {
			o.Servers = append(o.Servers, describe(i))
		}
	}
	news = nil
	return o, nil
}
