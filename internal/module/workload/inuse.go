package workload

import (
	"maps"
	"slices"
)

// InUse gives the digests of the artefacts that instances run from, or would be started
// from again: also those of a release that is older than what is asked for, because that
// cannot start.
func (m *Module) InUse() []string {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.deployments))
	m.mu.Unlock()
	var out []string
	for _, d := range all {
		d.mu.Lock()
		out = slices.AppendSeq(out, maps.Values(d.want.doc.Artefacts))
		for _, s := range d.slots {
			out = slices.AppendSeq(out, maps.Values(s.release.doc.Artefacts))
		}
		d.mu.Unlock()
	}
	return out
}
