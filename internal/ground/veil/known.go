package veil

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// maxKnown bounds what a Known knows; those that come later it does not hide.
const maxKnown = 10_000

// Known is secrets that are hidden wherever they turn up: of all who ever learnt one, for
// text that is of nobody alone. Its zero value knows none. It may be used concurrently.
type Known struct {
	all atomic.Pointer[Veil]

	mu    sync.Mutex
	known map[string]bool // guarded by mu
}

// Learn adds secrets.
func (k *Known) Learn(secrets []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := len(k.known)
	for _, s := range secrets {
		if k.known == nil {
			k.known = map[string]bool{}
		}
		if len(k.known) < maxKnown {
			k.known[s] = true
		}
	}
	if len(k.known) > before {
		all := New(slices.Collect(maps.Keys(k.known)))
		k.all.Store(&all)
	}
}

// Hide takes the secrets that are known out of a text. If one is left that the escapes of
// a URL spell in a way of their own, the text is given without escapes.
func (k *Known) Hide(text string) string {
	all := k.all.Load()
	if all == nil {
		return text
	}
	text = string(all.Hide([]byte(text)))
	if strings.Contains(text, "%") {
		if plain, err := url.PathUnescape(text); err == nil {
			if shown := string(all.Hide([]byte(plain))); shown != plain {
				return shown
			}
		}
	}
	return text
}
