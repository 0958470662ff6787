package workload

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// maxKnown bounds the secrets that are hidden wherever they turn up. A platform that was
// given more in its life hides the others in the output of their own services only.
const maxKnown = 10_000

// veils know the secrets of all instances that were ever started, for text that is of no
// one instance: the path of a request has passed two.
type veils struct {
	all atomic.Pointer[veil]

	mu    sync.Mutex
	known map[string]bool // guarded by mu
}

func (v *veils) learn(secrets []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := len(v.known)
	for _, s := range secrets {
		if v.known == nil {
			v.known = map[string]bool{}
		}
		if len(v.known) < maxKnown {
			v.known[s] = true
		}
	}
	if len(v.known) > before {
		all := newVeil(slices.Collect(maps.Keys(v.known)))
		v.all.Store(&all)
	}
}

// Hide takes the secrets of every instance out of a text.
func (m *Module) Hide(text string) string {
	all := m.veils.all.Load()
	if all == nil {
		return text
	}
	return string(all.hide([]byte(text)))
}

// tailer gives a tailer for an instance that was granted secrets.
func (m *Module) tailer(secrets []string) *tailer {
	m.veils.learn(secrets)
	return newTailer(secrets)
}
