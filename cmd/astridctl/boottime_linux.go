package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"
)

// bootTime is when this machine started, zero if it does not tell.
func bootTime() time.Time {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "btime ")
		if !ok {
			continue
		}
		if sec, err := strconv.ParseInt(text, 10, 64); err == nil {
			return time.Unix(sec, 0)
		}
	}
	return time.Time{}
}
