package ui

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// timeLayout is how people see a moment: sortable, to the millisecond, with
// its zone.
const timeLayout = "2006-01-02 15:04:05.000Z07:00"

// Zone returns the zone times are shown in.
func Zone(utc bool) *time.Location {
	if utc {
		return time.UTC
	}
	return time.Local
}

// Time shows a moment in a zone; "-" for the zero time.
func Time(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(zone).Format(timeLayout)
}

// Nanos returns the moment that is ns nanoseconds since 1970, the zero time
// for 0.
func Nanos(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Duration shows a length of time with about three digits: "850 µs", "12 ms",
// "5 s", "1.24 s", "3m20s", "2h5m".
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	switch {
	case d == 0:
		return "0 s"
	case d < time.Microsecond:
		return strconv.FormatInt(int64(d), 10) + " ns"
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return short(d.Seconds(), 2) + " s"
	case d < time.Minute:
		return short(d.Seconds(), 1) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// short shows f with at most digits decimals, without idle zeros.
func short(f float64, digits int) string {
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(f, 'f', digits, 64), "0"), ".")
}

// Bytes shows a size: "0 B", "312 B", "4.0 KiB", "1.5 MiB".
func Bytes(n uint64) string {
	if n < 1<<10 {
		return strconv.FormatUint(n, 10) + " B"
	}
	f, unit := float64(n)/(1<<10), 0
	for f >= 1<<10 && unit < 5 {
		f, unit = f/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTPE"[unit])
}

// Count shows n with its noun: "1 event", "3 events", "2 processes".
func Count[N ~int | ~int64 | ~uint32 | ~uint64](n N, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case noun[len(noun)-1] == 's':
		return fmt.Sprintf("%d %ses", n, noun)
	case noun[len(noun)-1] == 'y':
		return fmt.Sprintf("%d %sies", n, noun[:len(noun)-1])
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
