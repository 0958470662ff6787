package flow

import (
	"context"
	"encoding/binary"
)

// MaxMirrored bounds the body of a request of which a copy is sent: the copy is held until
// the whole is there.
const MaxMirrored = 64 << 10

// Mirrors says whether the route sends copies of some requests elsewhere: then Mirror says of which.
func (x *Exchange) Mirrors() bool { return x.Route != nil && x.Route.mirror != nil }

// Mirror gives where a copy of the request is to go, nil for nowhere: by its trace, so that
// all of a trace, and every attempt, are or are not among those that are copied.
func (x *Exchange) Mirror() *Upstream {
	if !x.Mirrors() || !x.Route.Rule.Mirror.Takes(x.Rec.Method, binary.BigEndian.Uint64(x.Rec.Trace[8:])) {
		return nil
	}
	return x.Route.mirror
}

// Mirrored counts a copy: "sent", "failed", or "dropped".
func (p *Plane) Mirrored(up *Upstream, outcome string) {
	p.marks.mirrored.With(up.Service, outcome).Add(1)
}

// mirrored is the key of a context in which it was decided that a copy is sent: the trace
// of a request without one is another for each engine.
type mirrored struct{}

// WithMirror says that a copy of the request is to be sent, see MustMirror.
func WithMirror(ctx context.Context) context.Context { return context.WithValue(ctx, mirrored{}, true) }

// MustMirror gives Mirror, or what was decided before.
func (x *Exchange) MustMirror(ctx context.Context) *Upstream {
	if x.Mirrors() && ctx.Value(mirrored{}) != nil {
		return x.Route.mirror
	}
	return x.Mirror()
}
