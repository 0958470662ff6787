package main

import (
	"strings"
	"testing"
)

// Stories: what was answered to each step, and where the order stands then.
//
//	ok: it happened   no: it did not   ??: nobody knows   x: the process died, another goes on
func TestOrderStories(t *testing.T) {
	for _, c := range []struct{ name, story, steps, want, reason string }{
		{"all goes well", "ok ok ok", "reserve charge ship", "confirmed", ""},
		{"not enough on the shelf", "no", "reserve", "out_of_stock", "because"},
		{"nobody knows whether it is held", "?? ok", "reserve undo", "cancelled", "unavailable"},
		{"the card is declined", "ok no ok", "reserve charge undo", "declined", "because"},
		{"nobody knows whether it was charged", "ok ?? ok", "reserve charge undo", "cancelled", "unavailable"},
		{"undoing is tried until it is done", "ok no ?? ?? ok", "reserve charge undo undo undo", "declined", "because"},
		{"who has paid is never undone", "ok ok ?? no ?? ok", "reserve charge ship ship ship ship", "confirmed", ""},
		{"died before anything", "x ok", "undo", "cancelled", "unavailable"},
		{"died when it was held", "ok x ok", "reserve undo", "cancelled", "unavailable"},
		{"died when it was paid", "ok ok x ok", "reserve charge ship", "confirmed", ""},
		{"died while undoing", "ok no x ok", "reserve charge undo", "declined", "because"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Order{Status: Placed}
			var steps []string
			for word := range strings.FieldsSeq(c.story) {
				if word == "x" {
					o = o.Abandon()
					continue
				}
				step := o.Next()
				steps = append(steps, string(step))
				o = o.After(step, map[string]Outcome{"ok": {Kind: Done, Ref: "ref"}, "no": {Kind: Refused, Reason: "because"}, "??": {Kind: Unknown}}[word])
			}
			if got := strings.Join(steps, " "); got != c.steps || string(o.Status) != c.want || o.Reason != c.reason {
				t.Errorf("%s: steps %q, %s because of %q; want %q, %s because of %q", c.story, got, o.Status, o.Reason, c.steps, c.want, c.reason)
			}
		})
	}
}

// In every order of outcomes and crashes: what is paid is never undone, what was begun
// and is not paid is undone before it rests, and rest is rest.
func TestOrderInvariants(t *testing.T) {
	type seen struct{ begun, paid, undone bool }
	var walk func(o Order, s seen, story string, depth int)
	walk = func(o Order, s seen, story string, depth int) {
		step := o.Next()
		if step == None {
			switch {
			case s.paid && o.Status != Confirmed:
				t.Errorf("%s: paid, and rests as %s", story, o.Status)
			case !s.paid && s.begun && !s.undone && o.Status != OutOfStock:
				t.Errorf("%s: rests as %s, and what was begun is not undone", story, o.Status)
			}
			return
		}
		if s.paid && step != Ship {
			t.Errorf("%s: paid, and the next step is %s", story, step)
		}
		if depth == 0 {
			return
		}
		walk(o.Abandon(), s, story+" x", depth-1)
		for word, kind := range map[string]OutcomeKind{"ok": Done, "no": Refused, "??": Unknown} {
			next := s
			switch {
			case step == Charge && kind == Done:
				next.paid = true
			case step == Undo && kind == Done:
				next.undone = true
			case kind != Refused:
				next.begun = true
			}
			walk(o.After(step, Outcome{Kind: kind, Reason: "because"}), next, story+" "+string(step)+":"+word, depth-1)
		}
	}
	walk(Order{Status: Placed}, seen{}, "placed", 7)
}
