package export

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/report"
	"github.com/astrid-os/processledger/ledger/event"
)

// Columns are the columns of the CSV. Columns are only added, at the end.
var Columns = []string{
	"seq", "id", "time", "order_time", "kind", "principal", "capsule", "instance", "call_id", "handle",
	"actor", "actor_uid", "actor_role", "outcome", "sentence", "body",
}

// csvWriter writes RFC 4180 with a header.
type csvWriter struct {
	w      *csv.Writer
	headed bool
}

// NewCSV returns a writer of CSV. A cell that a spreadsheet would run as a
// formula gets an apostrophe in front; JSON lines have the exact value.
func NewCSV(w io.Writer) Writer { return &csvWriter{w: csv.NewWriter(w)} }

// Write implements Writer.
func (c *csvWriter) Write(e *event.Event) error {
	if err := c.head(); err != nil {
		return err
	}
	body, err := bodyJSON(e)
	if err != nil {
		return err
	}
	row := []string{
		strconv.FormatUint(e.Seq, 10), e.ID.String(), time.Unix(0, e.Wall).UTC().Format(time.RFC3339Nano),
		ulid.Time(e.ID.Time()).UTC().Format("2006-01-02T15:04:05.000Z"), e.Kind().String(),
		e.Principal, e.Capsule, e.Instance, e.CallID, handle(e), e.Actor.Kind.String(), uid(e), e.Actor.Role,
		strings.Join(query.Outcomes(e), " "), report.Sentence(e), body,
	}
	for i := range row {
		row[i] = defuse(row[i])
	}
	return c.w.Write(row)
}

// Flush implements Writer.
func (c *csvWriter) Flush() error {
	if err := c.head(); err != nil {
		return err
	}
	c.w.Flush()
	return c.w.Error()
}

func (c *csvWriter) head() error {
	if c.headed {
		return nil
	}
	c.headed = true
	return c.w.Write(Columns)
}

// defuse takes the power from a cell that begins as a formula does in one of
// the spreadsheets in use.
func defuse(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func handle(e *event.Event) string {
	if e.Handle.IsZero() {
		return ""
	}
	return e.Handle.String()
}

// uid is empty for actors that have none.
func uid(e *event.Event) string {
	if e.Actor.Kind != event.ActorOperator {
		return ""
	}
	return strconv.FormatUint(uint64(e.Actor.UID), 10)
}

// bodyJSON is the body of the event's JSON form.
func bodyJSON(e *event.Event) (string, error) {
	var whole struct {
		Body json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(e.AppendJSON(nil), &whole); err != nil {
		return "", err
	}
	return string(whole.Body), nil
}
