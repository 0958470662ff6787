package workload

import (
	"fmt"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/kernel/host"
)

// effects says which instances a change starts, replaces and stops.
func effects(before, after core.State) []host.PlanLine {
	var out []host.PlanLine
	tell := func(doc core.Document, effect, text string) {
		out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: effect, Text: text})
	}
	for _, doc := range after.Of(core.KindService) {
		old, had := before.Docs[doc.Ref()]
		n, was := instances(doc), 0
		if had {
			was = instances(old)
		}
		switch {
		case was == 0 && n == 0: // nothing is run, before or after
		case was == 0:
			tell(doc, "start", plural(n, "instance")+" will start")
		case n == 0:
			tell(doc, "stop", plural(was, "instance")+" will be stopped: it is "+formOf(workload.RunSection.Of(doc))+" now")
		default:
			a, errA := newRelease(old, 0)
			b, errB := newRelease(doc, 0)
			switch {
			case errA != nil || errB != nil:
			case a.id != b.id && fixedPort(doc):
				tell(doc, "restart", "its instance is stopped, then the new one starts: its port is fixed")
			case a.id != b.id && n == 1:
				tell(doc, "restart", "its instance will be replaced, without a gap")
			case a.id != b.id:
				tell(doc, "restart", plural(n, "instance")+" will be replaced one by one")
			case was != n:
				tell(doc, "scale", fmt.Sprintf("%d -> %s", was, plural(n, "instance")))
			}
		}
	}
	for _, old := range before.Of(core.KindService) {
		if _, stays := after.Docs[old.Ref()]; !stays && instances(old) > 0 {
			tell(old, "stop", plural(instances(old), "instance")+" will be stopped; its data stays")
		}
	}
	return out
}

// instances is how many processes a document asks for.
func instances(doc core.Document) int {
	switch formOf(workload.RunSection.Of(doc)) {
	case formStatic, formExternal:
		return 0
	}
	return workload.ScaleSection.Of(doc).Min
}
