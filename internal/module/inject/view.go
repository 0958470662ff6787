package inject

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"stoa/api/core"
	api "stoa/api/inject"
	engine "stoa/internal/engine/inject"
)

// sentence tells what a fault does, to whom and until when: "30% of calls of storefront to inventory wait 2s
// to 2.5s, until 15:04:05".
func sentence(r record) string {
	var b strings.Builder
	b.WriteString("all calls")
	if r.Percent != 100 {
		b.Reset()
		b.WriteString(api.Percent(r.Percent).String() + " of calls")
	}
	switch r.Caller {
	case "":
	case engine.Outside:
		b.WriteString(" from outside")
	default:
		b.WriteString(" of " + r.Caller)
	}
	b.WriteString(" to " + r.Callee)
	if r.Header.Name != "" {
		b.WriteString(" with " + headerText(r.Header))
	}
	var does []string
	if r.Delay+r.Jitter > 0 {
		wait := core.Duration(r.Delay).String()
		switch {
		case r.Delay == 0:
			wait = "up to " + core.Duration(r.Jitter).String()
		case r.Jitter > 0:
			wait += " to " + core.Duration(r.Delay+r.Jitter).String()
		}
		does = append(does, "wait "+wait)
	}
	if r.Abort != 0 {
		does = append(does, fmt.Sprintf("are answered with %d", r.Abort))
	}
	fmt.Fprintf(&b, " %s, until %s", strings.Join(does, " and "), clock(r.Until, r.Began))
	return b.String()
}

// clock gives the local time of day of at, with its date if it is on another day than began.
func clock(at, began int64) string {
	t, b := time.Unix(0, at).Local(), time.Unix(0, began).Local()
	if t.YearDay() != b.YearDay() || t.Year() != b.Year() {
		return t.Format(time.DateTime)
	}
	return t.Format(time.TimeOnly)
}

func headerText(h engine.Header) string {
	if h.Value == "" {
		return h.Name
	}
	return h.Name + ": " + h.Value
}

// line is a fault as it is told beside others: its sentence, name, author and reason.
func line(r record) string {
	s := sentence(r) + " (" + r.ID + ", by " + r.By
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	return s + ")"
}

func linesOf(faults []record, service string) []string {
	var out []string
	for _, r := range faults {
		if r.Callee == service {
			out = append(out, line(r))
		}
	}
	return out
}

// condition is that of a service to which faults are injected, as the lines say.
func condition(service string, lines []string) core.Condition {
	c := core.Condition{Type: Condition, Status: core.False, Reason: "FaultsInjected", Hint: "To end what is injected: stoa faults clear " + service}
	switch len(lines) {
	case 0:
		return core.Condition{Type: Condition, Status: core.True, Reason: "NothingInjected", Message: "no fault is injected any more"}
	case 1:
		c.Message = lines[0]
	default:
		c.Message = fmt.Sprintf("%d faults are injected", len(lines))
		c.Evidence = lines
	}
	return c
}

// shown gives a fault as it is answered.
func shown(r record, h engine.Hits) api.Fault {
	f := api.Fault{
		Name: r.ID, Service: r.Callee, Does: sentence(r), Abort: r.Abort, Delay: core.Duration(r.Delay), Jitter: core.Duration(r.Jitter),
		Percent: api.Percent(r.Percent), From: r.Caller, Began: core.At(time.Unix(0, r.Began)), Until: core.At(time.Unix(0, r.Until)), By: r.By, Reason: r.Reason,
		Matched: h.Matched, Delayed: h.Delayed, Aborted: h.Aborted,
	}
	if r.Caller == engine.Outside {
		f.From = api.FromGateway
	}
	if r.Header.Name != "" {
		f.Header = headerText(r.Header)
	}
	return f
}

// PrintInjected is the text view of a fault that has just been injected.
func PrintInjected(w io.Writer, f api.Fault) {
	fmt.Fprintf(w, "%s: %s (for %s).\nTo end it before: stoa faults clear %s\n", f.Name, f.Does, left(f.Until.Sub(f.Began.Time)), f.Name)
}

func printFaults(w io.Writer, out api.Faults) {
	if len(out.Faults) == 0 {
		fmt.Fprintln(w, "Nothing is injected. To inject a fault: stoa inject SERVICE --abort 503 --percent 30")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FAULT\tENDS IN\tMATCHED\tDELAYED\tABORTED\tBY\tDOES\tREASON")
	for _, f := range out.Faults {
		reason := f.Reason
		if reason == "" {
			reason = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", f.Name, left(time.Until(f.Until.Time)), f.Matched, f.Delayed, f.Aborted, f.By, f.Does, reason)
	}
	t.Flush()
	fmt.Fprintln(w, "To end them now: stoa faults clear")
}

// left gives a time that is left, to the second.
func left(d time.Duration) string { return core.Duration(max(d.Round(time.Second), 0)).String() }

func printCleared(w io.Writer, out api.Cleared) {
	if len(out.Faults) == 0 {
		fmt.Fprintln(w, "Nothing was injected.")
		return
	}
	for _, f := range out.Faults {
		fmt.Fprintf(w, "%s is over: %s. It delayed %d and aborted %d of %d attempts.\n", f.Name, f.Does, f.Delayed, f.Aborted, f.Matched)
	}
}
