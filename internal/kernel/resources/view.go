package resources

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"stoa/api/core"
	api "stoa/api/platform"
)

// The views here are what people see; the answers as JSON are the contract.

// clean drops what could steer a terminal: messages and evidence hold what services wrote.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// table lays out rows in columns, two spaces apart.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t table) row(cells ...string) {
	for len(cells) > 0 && cells[len(cells)-1] == "" { // no blanks at the end of a line
		cells = cells[:len(cells)-1]
	}
	for i, c := range cells {
		cells[i] = clean(c)
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t table) flush() { _ = t.w.Flush() } // to a person's terminal or a buffer: whoever gave w sees its errors

// when gives an instant as the reader's clock shows it.
func when(t core.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func printGet(w io.Writer, out api.GetOut) {
	if out.Name != "" && len(out.Documents) == 1 {
		printDocument(w, out.Documents[0].Document)
		return
	}
	if len(out.Documents) == 0 {
		fmt.Fprintln(w, "None. To declare some: stoa init, then stoa apply DIR")
		return
	}
	t := newTable(w)
	t.row("NAME", "OBSERVED", "CHANGED AT", "BY", "SOURCE")
	for _, f := range out.Documents {
		t.row(f.Document.Ref().String(), brief(f.Conditions), fmt.Sprint(f.Last.Revision), f.Last.Who.String(), f.Document.Source)
	}
	t.flush()
}

// brief gives the one condition a person would ask for first: what is wrong, else Ready, else any.
func brief(conds []core.Condition) string {
	var best *core.Condition
	rank := func(c *core.Condition) int {
		switch {
		case c.Status == core.False:
			return 3
		case c.Type == "Ready":
			return 2
		}
		return 1
	}
	for i := range conds {
		if best == nil || rank(&conds[i]) > rank(best) {
			best = &conds[i]
		}
	}
	switch {
	case best == nil:
		return "-"
	case best.Type == "Ready" || best.Status == core.True:
		return best.Reason
	}
	return best.Type + " " + best.Reason
}

// printDocument gives a document as it could stand in a blueprint.
func printDocument(w io.Writer, d core.Document) {
	fmt.Fprintf(w, "kind: %s\nname: %s\n", d.Kind, d.Name)
	if d.Context != "" {
		fmt.Fprintf(w, "context: %s\n", d.Context)
	}
	writeSections(w, d.Sections)
	if d.Source != "" {
		fmt.Fprintf(w, "# from %s\n", clean(strings.TrimSuffix(d.Source+": "+d.File, ": ")))
	}
	for _, role := range sortedKeys(d.Artefacts) {
		fmt.Fprintf(w, "# %s %s\n", clean(role), clean(d.Artefacts[role]))
	}
}

func printDescribed(w io.Writer, d api.Described) {
	printDocument(w, d.Document)
	fmt.Fprintln(w)
	printChange(w, d.Last, d.Change)
	printConditions(w, d.Conditions)
	printTransitions(w, d.Transitions)
}

// printChange says to which revision something owes its present form.
func printChange(w io.Writer, last api.Last, change *api.Revision) {
	if change != nil {
		last = api.Last{Revision: change.Revision, At: change.At, Who: change.Who}
	}
	if last.Revision == 0 {
		return
	}
	fmt.Fprintf(w, "Changed at revision %d, %s, by %s", last.Revision, when(last.At), clean(last.Who.String()))
	if change != nil && change.Message != "" {
		fmt.Fprintf(w, ": %s", clean(change.Message))
	}
	fmt.Fprintln(w)
}

func printConditions(w io.Writer, conds []core.Condition) {
	if len(conds) == 0 {
		fmt.Fprintln(w, "Nothing is observed of it")
		return
	}
	t := newTable(w)
	for _, c := range conds {
		t.row(c.Type, string(c.Status), c.Reason, "since "+when(c.Since), c.Message)
	}
	t.flush()
	for _, c := range conds {
		if c.Hint != "" {
			fmt.Fprintln(w, clean(c.Hint))
		}
	}
}

func printTransitions(w io.Writer, ts []api.Transition) {
	for i, t := range ts {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s  %s\n", when(t.At), clean(turn(t)))
		if t.To != nil {
			for _, line := range t.To.Evidence {
				fmt.Fprintf(w, "    | %s\n", clean(line))
			}
		}
	}
}

// turn gives "Ready: Starting -> CrashLoop: it ended with code 1".
func turn(t api.Transition) string {
	switch {
	case t.To == nil && t.From == nil:
		return ""
	case t.To == nil:
		return t.From.Type + ": " + t.From.Reason + " -> no longer observed"
	}
	s := t.To.Type + ": "
	if t.From != nil {
		s += t.From.Reason + " -> "
	}
	s += t.To.Reason
	if t.To.Message != "" {
		s += ": " + t.To.Message
	}
	return s
}

// printWhy tells the story of one document: its present state last, as a log does.
func printWhy(w io.Writer, out api.Why) {
	fmt.Fprintln(w, out.Ref)
	if len(out.Transitions) == 0 {
		fmt.Fprintln(w, "No change of state was observed since the platform started")
	}
	printTransitions(w, out.Transitions)
	fmt.Fprintln(w)
	printConditions(w, out.Conditions)
	printChange(w, api.Last{}, out.Change)
}

func printHistory(w io.Writer, out api.History) {
	if len(out.Revisions) == 0 {
		fmt.Fprintln(w, "Nothing was applied yet. To begin: stoa apply DIR")
		return
	}
	t := newTable(w)
	t.row("REVISION", "WHEN", "WHO", "CHANGES", "SOURCE", "MESSAGE")
	for _, r := range out.Revisions {
		message := r.Message
		switch {
		case r.Left != 0:
			message = strings.TrimSuffix(fmt.Sprintf("(left behind by %d) %s", r.Left, message), " ")
		case r.Restores != 0 && message == "":
			message = fmt.Sprintf("rollback to revision %d", r.Restores)
		}
		source := r.Source
		if source == "" {
			source = "-"
		}
		t.row(fmt.Sprint(r.Revision), when(r.At), r.Who.String(), counts(r.Created, r.Changed, r.Deleted), source, message)
	}
	t.flush()
	if out.More {
		fmt.Fprintf(w, "Older ones are kept: stoa history -n %d\n", 10*len(out.Revisions))
	}
}

// counts gives "2 created, 1 deleted".
func counts(created, changed, deleted int) string {
	var parts []string
	for _, c := range []struct {
		n    int
		word string
	}{{created, api.Created}, {changed, api.Changed}, {deleted, api.Deleted}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.word))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func printSeen(w io.Writer, s api.Seen) {
	line := ""
	switch s.About {
	case api.SeenReset:
		line = fmt.Sprintf("changes before revision %d are no longer kept; for the present state: stoa get", s.Revision)
	case api.SeenDocument:
		line = fmt.Sprintf("%s  %s  %s at revision %d", when(s.At), s.Ref, s.Action, s.Revision)
		if s.Who != nil {
			line += " by " + s.Who.String()
		}
		if s.Message != "" {
			line += ": " + s.Message
		}
	case api.SeenWithdrawn:
		line = fmt.Sprintf("%s  %s  %s no longer observed", strings.Repeat(" ", len(time.DateTime)), s.Ref, s.Condition.Type)
	case api.SeenCondition:
		line = fmt.Sprintf("%s  %s  %s", when(s.At), s.Ref, s.Condition)
	}
	fmt.Fprintln(w, clean(line))
}
