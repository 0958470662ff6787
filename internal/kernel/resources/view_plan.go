package resources

import (
	"fmt"
	"io"
	"strings"

	api "stoa/api/platform"
)

// maxSame is how many unchanged documents a plan lists before it only counts them.
const maxSame = 20

// PrintPlan shows what an apply would do, or why it cannot be done.
func PrintPlan(w io.Writer, p api.Plan) {
	printChanges(w, p)
	switch created, changed, deleted := p.Counts(); {
	case len(p.Problems) > 0:
		for _, q := range p.Problems {
			fmt.Fprintln(w, clean(q.String()))
		}
		fmt.Fprintf(w, "It cannot be applied: %s\n", plural(len(p.Problems), "problem"))
	case len(p.Taken) > 0:
		for _, t := range p.Taken {
			fmt.Fprintln(w, clean(t.String()))
		}
		fmt.Fprintln(w, "It cannot be applied, unless with --take-over")
	case p.Empty():
		fmt.Fprintf(w, "Nothing to do: revision %d is as declared\n", p.Revision)
	default:
		fmt.Fprintf(w, "To do on revision %d: %d to create, %d to change, %d to delete\n", p.Revision, created, changed, deleted)
	}
}

// PrintApplied shows what was done, and what to do next.
func PrintApplied(w io.Writer, a api.Applied) {
	if a.OnlyPlan {
		PrintPlan(w, a.Plan)
		return
	}
	printChanges(w, a.Plan)
	if !a.Done {
		fmt.Fprintf(w, "Nothing to do: revision %d is as declared\n", a.Revision)
		return
	}
	what := "Applied"
	if a.Plan.Restores != 0 {
		what = fmt.Sprintf("Revision %d is back", a.Plan.Restores)
	}
	fmt.Fprintf(w, "%s at revision %d. ", what, a.Revision)
	var up []string
	for _, c := range a.Plan.Changes {
		if c.Action == api.Created || c.Action == api.Changed {
			up = append(up, c.Ref.String())
		}
	}
	switch len(up) {
	case 0:
		fmt.Fprintln(w, "To see what is left: stoa status")
	case 1:
		fmt.Fprintf(w, "To see it come up: stoa watch %s\n", up[0])
	default:
		fmt.Fprintln(w, "To see it come up: stoa watch")
	}
}

// printChanges gives a row for each document, more for one with several fields or touches:
//
//	service/orders    changed  uses[0].timeout: 2s -> 5s  cart and web call it; no restart
//	service/payments  same
func printChanges(w io.Writer, p api.Plan) {
	same := 0
	for _, c := range p.Changes {
		if c.Action == api.Same && len(c.Touches) == 0 {
			same++
		}
	}
	t := newTable(w)
	for _, c := range p.Changes {
		if c.Action == api.Same && len(c.Touches) == 0 && same > maxSame {
			continue
		}
		var left, right []string
		for _, f := range c.Fields {
			left = append(left, field(f))
		}
		if c.More > 0 {
			left = append(left, fmt.Sprintf("and %s more", plural(c.More, "field")))
		}
		for _, touch := range c.Touches {
			right = append(right, touch.Text)
		}
		ref, action := c.Ref.String(), c.Action
		for i := range max(1, len(left), len(right)) {
			t.row(ref, action, at(left, i), at(right, i))
			ref, action = "", ""
		}
	}
	for _, touch := range p.Touches {
		t.row(touch.Ref.String(), "", "", touch.Text)
	}
	t.flush()
	if same > maxSame {
		fmt.Fprintf(w, "%d more are the same\n", same)
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// field gives "uses[0].timeout: 2s -> 5s", for an artefact "program 3f2a.. -> 9c01..".
func field(f api.Field) string {
	role, artefact := strings.CutPrefix(f.Path, "artefacts.")
	old, new := f.Old, f.New
	if artefact {
		old, new = digests(old, new)
	}
	if old == "" {
		old = "none"
	}
	if new == "" {
		new = "none"
	}
	if artefact {
		return role + " " + old + " -> " + new
	}
	return f.Path + ": " + old + " -> " + new
}

// digests shortens two digests to four digits, or to as many as tell them apart.
func digests(a, b string) (string, string) {
	a, b = strings.TrimPrefix(a, "sha256:"), strings.TrimPrefix(b, "sha256:")
	n := 4
	for n < len(a) && n < len(b) && a[:n] == b[:n] {
		n++
	}
	short := func(s string) string {
		if len(s) > n {
			return s[:n] + ".."
		}
		return s
	}
	return short(a), short(b)
}
