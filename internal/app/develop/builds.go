package develop

import (
	"context"
	"errors"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/engine/fswatch"
)

// work is a build under way.
type work struct {
	again bool // something changed since it began
}

// A result is what came of a build, or what a document is built from.
type result struct {
	ref    core.Ref
	made   build.Made
	inputs *build.Inputs // if it is not nil it tells these and nothing else
}

// start begins to build documents; one that is being built is noted, to be built again.
func (l *Loop) start(ctx context.Context, docs []core.Document) {
	var begin []core.Document
	for _, d := range docs {
		ref := d.Ref()
		if w := l.pending[ref]; w != nil {
			w.again = true
			continue
		}
		l.pending[ref] = &work{}
		l.wroteBy(ref).begin()
		begin = append(begin, d)
		l.tell(Event{Kind: BuildBegan, Document: ref.String()})
		l.observe(ref, core.Condition{Status: core.Pending, Reason: "Building", Message: "is being built"})
	}
	l.launch(ctx, begin)
}

// launch has documents built.
func (l *Loop) launch(ctx context.Context, docs []core.Document) {
	if len(docs) == 0 {
		return
	}
	l.lives.Go(func() {
		l.h.build(ctx, docs, func(d core.Document, m build.Made) { l.give(result{ref: d.Ref(), made: m}) })
		for _, d := range docs { // after the programs run: nobody waits for these
			in := l.h.inputs(ctx, d)
			l.give(result{ref: d.Ref(), inputs: &in})
		}
	})
}

// give gives a result to the loop, unless that has ended.
func (l *Loop) give(r result) {
	select {
	case l.results <- r:
	case <-l.done:
	}
}

// finished takes a result over.
func (l *Loop) finished(ctx context.Context, r result) {
	d, declared := l.document(r.ref)
	if r.inputs != nil {
		// A program that is broken tells less of its inputs than when it was not.
		if declared && (len(r.inputs.Dirs) > 0 || l.inputs[r.ref].Tree == "") {
			l.inputs[r.ref] = *r.inputs
		}
		return
	}
	w := l.pending[r.ref]
	delete(l.pending, r.ref)
	l.ended[r.ref] = time.Now()
	if !declared || ctx.Err() != nil {
		return
	}
	if w != nil && w.again { // for whoever watches it is the same build
		l.pending[r.ref] = &work{}
		l.wroteBy(r.ref).begin()
		l.launch(ctx, []core.Document{d})
		return
	}
	for _, w := range l.waits {
		delete(w.refs, r.ref)
	}
	took := r.made.Took.Round(time.Millisecond)
	if err := r.made.Err; err != nil {
		l.failed[r.ref] = true
		l.tell(Event{Kind: BuildFailed, Document: r.ref.String(), Text: build.Reason(err), Hint: fault.HintOf(err), Took: core.Duration(r.made.Took)})
		c := core.Condition{Status: core.False, Reason: "BuildFailed", Message: firstLine(build.Reason(err)), Evidence: evidence(err), Hint: fault.HintOf(err)}
		if c.Hint == "" {
			c.Hint = "Correct it and save: it is built again. What ran before goes on."
		}
		l.observe(r.ref, c)
		return
	}
	delete(l.failed, r.ref)
	l.made[r.ref] = r.made.Artefacts
	l.tell(Event{Kind: Built, Document: r.ref.String(), Took: core.Duration(r.made.Took)})
	l.observe(r.ref, core.Condition{Status: core.True, Reason: "Built", Message: "was built in " + took.String()})
}

// owed gives the documents that are being built, or whose last build failed.
func (l *Loop) owed() map[core.Ref]bool {
	out := map[core.Ref]bool{}
	for ref := range l.pending {
		out[ref] = true
	}
	for ref := range l.failed {
		out[ref] = true
	}
	return out
}

// writing gives the services whose build command may be the author of what changes now.
func (l *Loop) writing(now time.Time) map[core.Ref]*wrote {
	out := map[core.Ref]*wrote{}
	for _, d := range l.docs {
		if d.Kind != core.KindService || len(workload.RunSection.Of(d).Build) == 0 {
			continue
		}
		ref := d.Ref()
		if l.pending[ref] != nil || now.Sub(l.ended[ref]) < fswatch.Quiet+fswatch.Patience {
			out[ref] = l.wroteBy(ref)
		}
	}
	return out
}

func (l *Loop) wroteBy(ref core.Ref) *wrote {
	if l.wrote[ref] == nil {
		l.wrote[ref] = &wrote{}
	}
	return l.wrote[ref]
}

func (l *Loop) observe(ref core.Ref, c core.Condition) {
	c.Type, c.Since = "Built", core.At(time.Now())
	l.p.Observe(ref, c)
}

// evidence gives the last lines of a failed build.
func evidence(err error) []string {
	var failed *build.Error
	if !errors.As(err, &failed) {
		return nil
	}
	lines := strings.Split(strings.TrimRight(failed.Output, "\n"), "\n")
	return lines[max(0, len(lines)-core.MaxEvidence):]
}

func firstLine(s string) string {
	lines := strings.SplitN(s, "\n", 3)
	if len(lines) > 1 && strings.HasPrefix(lines[1], "#") && len(lines) > 2 { // go's "# package"
		lines[1], _, _ = strings.Cut(lines[2], "\n")
	}
	return strings.Join(lines[:min(2, len(lines))], " ")
}
