package snapshot

import (
	"cmp"
	"fmt"
)

// Heads bound the head of a request: its line and fields. Zero means the default.
type Heads struct {
	Bytes  int `json:"bytes,omitempty"`  // of the whole: 16 KiB from outside, 64 KiB from a service; more is refused with 431
	Target int `json:"target,omitempty"` // of path and query: 8 KiB; 414
	Fields int `json:"fields,omitempty"` // 100; 431
}

// The bounds of Heads, and the defaults.
const (
	minHead, MaxHead     = 1 << 10, 1 << 20
	minFields, MaxFields = 10, 1000

	defaultEdgeHead = 16 << 10
	defaultMeshHead = 64 << 10
	defaultTarget   = 8 << 10
	defaultFields   = 100
)

// Bounds gives the bounds that are in force at l.
func (l Listener) Bounds() Heads {
	h, head := l.Heads, defaultMeshHead
	if l.Edge() {
		head = defaultEdgeHead
	}
	h.Bytes = min(cmp.Or(h.Bytes, head), MaxHead)
	return Heads{Bytes: h.Bytes, Target: min(cmp.Or(h.Target, defaultTarget), h.Bytes), Fields: min(cmp.Or(h.Fields, defaultFields), MaxFields)}
}

// Check tells bad what is wrong with h, by the path of the field.
func (h Heads) Check(bad func(path, text, hint string)) {
	if h.Bytes != 0 && (h.Bytes < minHead || h.Bytes > MaxHead) {
		bad("bytes", fmt.Sprintf("want %d to %d bytes", minHead, MaxHead), "Leave it out for 16384.")
	}
	if h.Target != 0 && (h.Target < minHead || h.Target > MaxHead) {
		bad("target", fmt.Sprintf("want %d to %d bytes", minHead, MaxHead), "Leave it out for 8192.")
	} else if all := cmp.Or(h.Bytes, defaultEdgeHead); h.Target > all && all > 0 {
		bad("target", fmt.Sprintf("%d bytes do not fit into a head of %d", h.Target, all), "Give bytes as many, and some for the fields.")
	}
	if h.Fields != 0 && (h.Fields < minFields || h.Fields > MaxFields) {
		bad("fields", fmt.Sprintf("want %d to %d", minFields, MaxFields), "Leave it out for 100.")
	}
}
