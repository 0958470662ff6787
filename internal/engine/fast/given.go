package fast

import (
	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
)

// inject lets the next attempt meet the faults that are declared. over says that the
// request is, with f to be answered if it is not nil; again that another attempt follows.
func (r *request) inject(safe bool) (over, again bool, f *flow.Refusal) {
	x := r.x
	v := x.Inject()
	if f := r.pause(v.Delay); f != nil {
		x.Stuck()
		return true, false, f
	}
	if !v.Over {
		return false, false, nil
	}
	again, pause, g, f := x.Met(v, text(r.c.w.req.Value(r.b, h1.ContentType)), r.whole || r.upload == nil, safe)
	if f != nil {
		return true, false, f
	}
	if again {
		f = r.pause(pause)
		return f != nil, f == nil, f
	}
	if r.memo != nil {
		switch v := r.memo.Took(g.Status, g.Fields); {
		case v.Refusal != nil:
			return true, false, v.Refusal
		case v.Give != nil:
			g = v.Give
		}
	}
	r.give(g)
	return true, false, nil
}

// give answers with g.
func (r *request) give(g *flow.Given) {
	c, w, x := r.c, r.c.w, r.x
	x.Gave(g)
	if c.gone.Load() || r.begun {
		r.keep = false
		return
	}
	r.begun = true
	if !r.consumed() {
		r.keep = false
	}
	r.keep = r.keep && !c.s.draining.Load()
	out := appendLine(w.out[:0], g.Status)
	for i := range g.Fields {
		out = appendField(out, g.Fields[i].Name, g.Fields[i].Value)
	}
	out = appendMarks(out, x)
	if x.Secures() {
		out = x.AppendSecure(out, func(name string) bool { _, ok := g.Fields.First(name); return ok })
	}
	if !r.keep {
		out = append(out, "Connection: close\r\n"...)
	}
	out = append(out, "\r\n"...)
	body := g.Body
	if len(body) <= maxKept { // in one write
		out = append(out, body...)
		body = nil
	}
	w.out = out[:0]
	err := c.write(out)
	if err == nil && len(body) > 0 {
		err = c.write(body)
	}
	if err != nil {
		r.keep = false
		return
	}
	x.Rec.Out += int64(len(g.Body))
	if !r.keep {
		r.c.linger = true
	}
}

func appendField(out []byte, name, value string) []byte {
	return append(append(append(append(out, name...), ": "...), value...), "\r\n"...)
}

// appendMarks appends the fields that the answer bears besides its own.
func appendMarks(out []byte, x *flow.Exchange) []byte {
	for i := range x.Marks {
		out = appendField(out, x.Marks[i][0], x.Marks[i][1])
	}
	return out
}
