package flow

import (
	"strconv"

	"stoa/internal/engine/cache"
)

// Given is an answer that no service gave just now: one that was kept, one that was
// declared, or an injected one. It is whole; nothing of it is to be changed.
type Given struct {
	Status int
	Fields cache.Fields // with Content-Length where there is one, without those of Marks
	Body   []byte       // empty for HEAD
}

// Mark puts a field into the answer that x will have, whoever gives it: what it replaces is
// an earlier mark of the name, not a field of the answer. Engines write Marks.
func (x *Exchange) Mark(name, value string) {
	for i := range x.Marks {
		if x.Marks[i][0] == name {
			x.Marks[i][1] = value
			return
		}
	}
	x.Marks = append(x.Marks, [2]string{name, value})
}

// Gave makes g the outcome of x.
func (x *Exchange) Gave(g *Given) {
	x.Rec.Status = g.Status
	if v, ok := g.Fields.First("Grpc-Status"); ok {
		if n, err := strconv.Atoi(v); err == nil {
			x.Rec.GRPC = n
		}
	}
}

// text makes a Given of one line.
func given(status int, contentType, body string, head bool) *Given {
	g := &Given{Status: status, Fields: cache.Fields{{Name: "Content-Type", Value: contentType}}}
	if status != 204 && status != 304 {
		g.Fields = append(g.Fields, cache.Field{Name: "Content-Length", Value: strconv.Itoa(len(body))})
		if !head {
			g.Body = []byte(body)
		}
	}
	return g
}
