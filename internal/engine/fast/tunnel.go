package fast

import (
	"context"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/pipe"
)

// upgrade passes an answer 101 on, and then both connections into each other: they
// belong to the new protocol, with what was read of them.
func (r *request) upgrade(uc *upConn) *flow.Refusal {
	c, x, w := r.c, r.x, r.c.w
	resp, b := &w.resp, w.up[w.ur:w.uw]
	asked := w.req.Upgrade.In(r.b)
	r.unwatch()
	if w.req.Upgrade.Len == 0 || resp.Upgrade.Len == 0 || !sameName(asked, text(resp.Upgrade.In(b))) {
		uc.close()
		return &flow.Refusal{Reason: hop.BadAnswer, Status: 502, Text: x.Up.Service + " switched protocols unasked"}
	}
	if !c.s.o.Enter() {
		uc.close()
		return &flow.Refusal{Reason: hop.Overload, Status: 503, Text: "too many open connections at " + c.s.o.Name}
	}
	defer c.s.o.Leave()
	defer uc.close()
	r.keep = false
	x.Rec.Status = resp.Status
	out := appendStatus(w.out[:0], resp, b)
	out = x.AppendAnswer(appendFields(out, resp, b, x))
	out = append(append(append(out, "Connection: Upgrade\r\nUpgrade: "...), resp.Upgrade.In(b)...), "\r\n\r\n"...)
	c.nc.SetDeadline(time.Time{})
	uc.nc.SetDeadline(time.Time{})
	if _, err := c.nc.Write(out); err != nil {
		x.Rec.Reason, x.Rec.Error = hop.Cancelled, err.Error()
		return nil
	}
	caller := &pipe.Half{Reader: pipe.Held(w.in[w.r:w.w], c.nc), Conn: c.nc}
	service := &pipe.Half{Reader: pipe.Held(b[resp.Len:], uc.nc), Conn: uc.nc}
	w.ur = w.uw
	stop := context.AfterFunc(c.s.ctx, func() { c.nc.Close(); uc.close() })
	defer stop()
	if err := pipe.Join(caller, service, x.Quiet(), &x.Rec.In, &x.Rec.Out); err != nil {
		x.Rec.Error = err.Error()
	}
	return nil
}
