package proxy

import "stoa/internal/engine/inject"

// FaultHits gives what each injected fault has done so far, by its id; see flow.Plane.FaultHits.
func (p *Proxy) FaultHits() map[string]inject.Hits { return p.plane.FaultHits() }
