package develop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
)

// Waits between two tries of an apply that was refused for a reason that passes; doubled each time.
const (
	retryFirst = 250 * time.Millisecond
	retryMost  = 10 * time.Second
)

// A force is what the loop has put in force.
type force struct {
	began    bool // the first apply was tried
	once     bool // an apply has succeeded
	docs     []core.Document
	revision uint64
	held     []core.Ref // that were told to be held
	message  string     // of the next apply

	refused string        // why the last apply was refused, "" if it was not
	wait    time.Duration // before the next try
	retry   *time.Timer   // runs while a refused apply is to be tried again
}

// again has the next apply be a new one, not the retry of one that was refused.
func (f *force) again() {
	if f.retry != nil { // the loop has not begun
		f.retry.Stop()
	}
	f.wait = 0
}

// differences counts the documents that differ from what is in force.
func (f *force) differences(docs []core.Document) int {
	bare := func(docs []core.Document) []core.Document {
		out := slices.Clone(docs)
		for i := range out {
			out[i].Artefacts = nil
		}
		return out
	}
	return differences(bare(f.docs), bare(docs))
}

// apply puts in force what can be, if it is not in force already.
func (l *Loop) apply(ctx context.Context) {
	f := &l.force
	docs, held := compose(l.docs, f.docs, l.made, l.owed())
	l.hold(held)
	n := differences(f.docs, docs)
	if f.once && n == 0 && f.refused == "" { // one that was refused may have happened
		f.message = ""
		l.mend(n)
		return
	}
	rev, err := l.p.Apply(ctx, l.set.Dir, docs, f.message)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		e := refusal(err)
		e.Retried = passes(err)
		if text := e.Text + e.Hint; text != f.refused { // each reason once
			f.refused = text
			l.tell(e)
		}
		if e.Retried {
			f.wait = min(max(retryFirst, 2*f.wait), retryMost)
			f.retry.Reset(f.wait)
		}
		return
	}
	f.revision = rev
	f.docs, f.once, f.refused, f.message = docs, true, "", ""
	f.again()
	l.tell(Event{Kind: Applied, Revision: rev, Changes: n})
	l.mend(n)
}

// mend tells that the blueprint is good again, with how much of it was applied.
func (l *Loop) mend(changes int) {
	if l.mended {
		l.mended = false
		l.tell(Event{Kind: Mended, Revision: l.force.revision, Changes: changes})
	}
}

// passes says whether an apply that failed so may go by itself later.
func passes(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Denied:
		return false
	}
	return true
}

func refusal(err error) Event {
	return Event{Kind: Refused, Text: err.Error(), Hint: fault.HintOf(err)}
}

// hold tells of documents whose edit waits for something that does not build, once until
// they come into force.
func (l *Loop) hold(held []core.Ref) {
	var now []core.Ref
	for _, ref := range held {
		broken := l.brokenWith(ref)
		if len(broken) == 0 {
			continue // it is being built
		}
		if now = append(now, ref); !slices.Contains(l.force.held, ref) {
			l.tell(Event{Kind: Held, Document: ref.String(), Text: fmt.Sprintf("its edit waits until %s builds; what runs goes on", strings.Join(broken, " and "))})
		}
	}
	l.force.held = now
}

// brokenWith gives what does not build of those that come into force with ref.
func (l *Loop) brokenWith(ref core.Ref) (broken []string) {
	u := ref
	for _, d := range slices.Concat(l.force.docs, l.docs) { // as the blueprint wants it, if it does
		if d.Ref() == ref {
			u = unit(d)
		}
	}
	for _, d := range l.docs {
		if unit(d) == u && l.failed[d.Ref()] {
			broken = append(broken, d.Ref().String())
		}
	}
	return broken
}
