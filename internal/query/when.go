package query

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Now is what relative times are relative to.
type Now struct {
	// Time is the moment of the question; its location is the one that dates
	// without a zone are read in.
	Time time.Time

	// Boot is when the machine started, zero where nobody knows.
	Boot time.Time
}

// TimeForms lists what [ParseTime] understands, for help texts.
const TimeForms = "2006-01-02T15:04:05Z, 2006-01-02 15:04, 15:04, 42m, 2 days ago, yesterday, today, tomorrow, now, @unix, boot"

// ParseTime reads a moment as people write it: RFC 3339 (also with a space),
// a date or a time of today in the zone of now, "now", "today", "yesterday"
// and "tomorrow" (their midnight), "boot", "@" and seconds since 1970, a span
// ("42m", "1h30m", "2d": that long ago), "-42m" and "2 days ago" (the same),
// and "+10m" (in the future).
func ParseTime(s string, now Now) (time.Time, error) {
	text := strings.TrimSpace(s)
	word := strings.ToLower(text)
	if t, ok, err := named(word, now); ok {
		return t, err
	}
	if rest, ok := strings.CutPrefix(word, "@"); ok {
		return parseUnix(s, rest)
	}
	if t, ok := absolute(strings.ToUpper(text), now.Time); ok {
		return t, nil
	}
	if t, ok := relative(word, now.Time); ok {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("time %q is not understood; write for example %s", s, TimeForms)
}

// named handles the words that are times by themselves.
func named(word string, now Now) (t time.Time, ok bool, err error) {
	switch word {
	case "now":
		return now.Time, true, nil
	case "today":
		return midnight(now.Time, 0), true, nil
	case "yesterday":
		return midnight(now.Time, -1), true, nil
	case "tomorrow":
		return midnight(now.Time, 1), true, nil
	case "boot":
		if now.Boot.IsZero() {
			return time.Time{}, true, fmt.Errorf("time %q: this machine does not tell when it started; name the time itself", word)
		}
		return now.Boot, true, nil
	}
	return time.Time{}, false, nil
}

// midnight is the start of the day that lies days after t's. time.Date knows
// days of 23 and 25 hours.
func midnight(t time.Time, days int) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, t.Location())
}

// parseUnix reads seconds since 1970 with up to nine digits of fraction,
// without going through a float.
func parseUnix(whole, s string) (time.Time, error) {
	secs, frac, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(secs, 10, 64)
	if err != nil || len(frac) > 9 {
		return time.Time{}, fmt.Errorf("time %q: after @ come seconds since 1970", whole)
	}
	nanos, err := strconv.ParseUint("0"+frac+strings.Repeat("0", 9-len(frac)), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q: after @ come seconds since 1970", whole)
	}
	if strings.HasPrefix(secs, "-") {
		return time.Unix(n, -int64(nanos)), nil
	}
	return time.Unix(n, int64(nanos)), nil
}

// zoned are the layouts that name their zone, local those that do not.
var (
	zoned = []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00",
		"2006-01-02 15:04:05 UTC", "2006-01-02 15:04 UTC"}
	local = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}
	clock = []string{"15:04:05", "15:04"}
)

// absolute handles dates and times of day.
func absolute(s string, now time.Time) (time.Time, bool) {
	for _, layout := range zoned {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	for _, layout := range local {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, true
		}
	}
	for _, layout := range clock {
		if t, err := time.Parse(layout, s); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location()), true
		}
	}
	return time.Time{}, false
}

// relative handles spans: before now unless they begin with a plus.
func relative(s string, now time.Time) (time.Time, bool) {
	s, ago := strings.CutSuffix(s, "ago")
	s = strings.TrimSpace(s)
	after := false
	switch {
	case strings.HasPrefix(s, "+"):
		after, s = true, s[1:]
	case strings.HasPrefix(s, "-"):
		s = s[1:]
	}
	sp, ok := parseSpan(s)
	if !ok || (after && ago) {
		return time.Time{}, false
	}
	if after {
		return now.AddDate(sp.years, sp.months, sp.days).Add(sp.rest), true
	}
	return now.AddDate(-sp.years, -sp.months, -sp.days).Add(-sp.rest), true
}
