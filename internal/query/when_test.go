package query

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// berlin has a day of 23 hours on 2026-03-29 and one of 25 on 2026-10-25.
func berlin(t *testing.T) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skipf("no time zone data: %v", err)
	}
	return loc
}

func TestParseTime(t *testing.T) {
	loc := berlin(t)
	now := Now{
		Time: time.Date(2026, 3, 29, 14, 30, 15, 500, loc), // the day on which 02:00 became 03:00
		Boot: time.Date(2026, 3, 27, 8, 0, 0, 0, loc),
	}
	for in, want := range map[string]time.Time{
		"now":                           now.Time,
		"today":                         time.Date(2026, 3, 29, 0, 0, 0, 0, loc),
		"Yesterday":                     time.Date(2026, 3, 28, 0, 0, 0, 0, loc),
		"tomorrow":                      time.Date(2026, 3, 30, 0, 0, 0, 0, loc),
		"boot":                          now.Boot,
		"@0":                            time.Unix(0, 0),
		"@1774787415":                   time.Unix(1774787415, 0),
		"@1774787415.25":                time.Unix(1774787415, 250_000_000),
		"@-1.5":                         time.Unix(-1, -500_000_000),
		"2026-03-01T10:00:00Z":          time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		"2026-03-01t10:00:00z":          time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		"2026-03-01T10:00:00.5+02:00":   time.Date(2026, 3, 1, 8, 0, 0, 500_000_000, time.UTC),
		"2026-03-01 10:00:00Z":          time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		"2026-03-01 10:00 UTC":          time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		"2026-03-01T10:00:00":           time.Date(2026, 3, 1, 10, 0, 0, 0, loc),
		"2026-03-01 10:00:00.123456789": time.Date(2026, 3, 1, 10, 0, 0, 123456789, loc),
		"2026-03-01 10:00":              time.Date(2026, 3, 1, 10, 0, 0, 0, loc),
		"2026-03-01":                    time.Date(2026, 3, 1, 0, 0, 0, 0, loc),
		"09:15":                         time.Date(2026, 3, 29, 9, 15, 0, 0, loc),
		"09:15:30":                      time.Date(2026, 3, 29, 9, 15, 30, 0, loc),
		"42m":                           now.Time.Add(-42 * time.Minute),
		"-42m":                          now.Time.Add(-42 * time.Minute),
		" 42 minutes ago ":              now.Time.Add(-42 * time.Minute),
		"1h30m":                         now.Time.Add(-90 * time.Minute),
		"1h 30m ago":                    now.Time.Add(-90 * time.Minute),
		"1.5h":                          now.Time.Add(-90 * time.Minute),
		"90s":                           now.Time.Add(-90 * time.Second),
		"250ms":                         now.Time.Add(-250 * time.Millisecond),
		"+10m":                          now.Time.Add(10 * time.Minute),
		"2 days ago":                    time.Date(2026, 3, 27, 14, 30, 15, 500, loc), // by the calendar: 47 hours
		"2d":                            time.Date(2026, 3, 27, 14, 30, 15, 500, loc),
		"1 week":                        time.Date(2026, 3, 22, 14, 30, 15, 500, loc),
		"1 month ago":                   time.Date(2026, 3, 1, 14, 30, 15, 500, loc), // there is no February 29
		"1 year 2 days":                 time.Date(2025, 3, 27, 14, 30, 15, 500, loc),
	} {
		got, err := ParseTime(in, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestParseTimeRefuses(t *testing.T) {
	now := Now{Time: time.Date(2026, 3, 29, 14, 30, 15, 0, time.UTC)}
	for _, in := range []string{
		"", " ", "soon", "ago", "42", "42x", "m", "-", "+", "+1h ago", "1.5 days", "1..5h", "@", "@x", "@1.0000000001", "@1.x",
		"2026-13-01", "2026-02-30", "25:00", "2026-03-01T10:00:00+2", "99999999999999h", "9999999999999999999s", "boot", "1h-2m",
	} {
		if got, err := ParseTime(in, now); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", in, got)
		}
	}
}

// TestParseTimeAgreesWithSystemd asks systemd-analyze what the same words mean.
func TestParseTimeAgreesWithSystemd(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for _, in := range []string{
		"now", "today", "yesterday", "tomorrow", "@1774787415", "2026-03-01", "2026-03-01 10:00", "2026-03-01 10:00:00",
		"2 days ago", "1h 30min ago", "-42m", "+10m", "1 week ago", "3 hours ago", "10:00", "90s ago", "1d 2h ago",
	} {
		cmd := exec.Command(tool, "timestamp", "--", in)
		cmd.Env = append(cmd.Environ(), "TZ=UTC")
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("systemd-analyze timestamp %q: %v", in, err)
			continue
		}
		want := unixOf(t, string(out))
		got, err := ParseTime(in, Now{Time: time.Now().UTC()})
		if err != nil {
			t.Errorf("ParseTime(%q): %v", in, err)
			continue
		}
		// The two clocks were read some milliseconds apart.
		if d := got.Sub(want).Abs(); d > 5*time.Second {
			t.Errorf("ParseTime(%q) = %v, systemd says %v", in, got, want)
		}
	}
}

func unixOf(t *testing.T, out string) time.Time {
	t.Helper()
	_, rest, ok := strings.Cut(out, "UNIX seconds: @")
	if !ok {
		t.Fatalf("systemd-analyze says %q", out)
	}
	text, _, _ := strings.Cut(rest, "\n")
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.UnixMicro(int64(f * 1e6))
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"now", "2 days ago", "1h30m", "@1.5", "2026-03-01 10:00", "+1y", "-1.5h"} {
		f.Add(s)
	}
	now := Now{Time: time.Date(2026, 3, 29, 14, 30, 15, 0, time.UTC)}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s, now)
		if err != nil {
			return
		}
		again, err := ParseTime(got.Format(time.RFC3339Nano), now)
		if year := got.UTC().Year(); year >= 0 && year <= 9999 && (err != nil || !again.Equal(got)) {
			t.Errorf("ParseTime(%q) = %v does not read back: %v, %v", s, got, again, err)
		}
	})
}
