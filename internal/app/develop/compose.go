package develop

import (
	"maps"
	"slices"

	"stoa/api/core"
	"stoa/api/workload"
)

// made is what documents were built to, by ref and role.
type made map[core.Ref]map[string]string

// compose gives the documents that are to be in force: those that the blueprint wants,
// with what they were built to. It is pure.
//
// owed are the documents whose build is under way or has failed. What they were built to
// before belongs to another edit, and is never joined with this one: a job before a
// release would run with the program of before. So
//
//   - a service that was built, its jobs before a release, and any other job by itself,
//     stay as they are in force while one of them is owed. What runs is left alone;
//   - what was never built comes into force without artefacts, and waits for its build.
//
// held are the refs, of wants and of what is in force, that an edit would have changed.
func compose(wants []core.Document, inForce []core.Document, m made, owed map[core.Ref]bool) (docs []core.Document, held []core.Ref) {
	runs := map[core.Ref]bool{} // units of which something runs
	for _, d := range inForce {
		if d.Ref() == unit(d) && len(d.Artefacts) > 0 {
			runs[unit(d)] = true
		}
	}
	stays := map[core.Ref]bool{} // units that stay as they are
	for _, d := range wants {
		if owed[d.Ref()] && runs[unit(d)] {
			stays[unit(d)] = true
		}
	}
	before := map[core.Ref]core.Document{}
	for _, d := range inForce {
		before[d.Ref()] = d
	}
	for _, d := range wants {
		if stays[unit(d)] {
			old, ok := before[d.Ref()]
			if !ok || !same(old, d) {
				held = append(held, d.Ref())
			}
			continue
		}
		d = d.Clone()
		d.Artefacts = maps.Clone(m[d.Ref()])
		if owed[d.Ref()] {
			d.Artefacts = nil
		}
		docs = append(docs, d)
	}
	for _, d := range inForce {
		if !stays[unit(d)] || slices.ContainsFunc(docs, func(o core.Document) bool { return o.Ref() == d.Ref() }) {
			continue
		}
		docs = append(docs, d)
		if !slices.ContainsFunc(wants, func(o core.Document) bool { return o.Ref() == d.Ref() }) {
			held = append(held, d.Ref())
		}
	}
	byRef := func(a, b core.Document) int { return a.Ref().Compare(b.Ref()) }
	slices.SortFunc(docs, byRef)
	slices.SortFunc(held, core.Ref.Compare)
	return docs, held
}

// unit gives what a document comes into force with: jobs before a release come with their
// service, everything else by itself.
func unit(d core.Document) core.Ref {
	if d.Kind == core.KindJob {
		if j := workload.JobBody.Of(d); j.When == workload.BeforeRelease {
			return core.Ref{Kind: core.KindService, Name: j.Of}
		}
	}
	return d.Ref()
}

// same says whether two documents say the same, whatever they were built to.
func same(a, b core.Document) bool {
	a.Artefacts, b.Artefacts = nil, nil
	return string(a.Canonical()) == string(b.Canonical())
}
