package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/pipe"
	"stoa/internal/engine/snapshot"
)

// tunnel hands an upgraded connection through: on 101 both sides belong to the new
// protocol, with what they have buffered.
func (b *binding) tunnel(w http.ResponseWriter, resp *http.Response, x *exchange) *flow.Refusal {
	up, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return &flow.Refusal{Reason: hop.BadAnswer, Status: 502, Text: x.Up.Service + " switched protocols on a connection that cannot"}
	}
	if !b.enterTunnel() {
		return &flow.Refusal{Reason: hop.Overload, Status: 503, Text: "too many open connections at " + b.name}
	}
	defer b.leaveTunnel()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return &flow.Refusal{Reason: hop.Defect, Status: 502, Text: "the connection cannot be upgraded", Err: err}
	}
	defer conn.Close()
	conn.SetDeadline(time.Time{})
	x.Rec.Status = resp.StatusCode
	connection, upgrade := resp.Header["Connection"], resp.Header["Upgrade"]
	removeHopByHop(resp.Header)
	dropOwn(resp.Header)
	x.EditAnswer(resp.Header)
	resp.Header["Connection"], resp.Header["Upgrade"] = connection, upgrade
	head := http.Response{StatusCode: resp.StatusCode, Status: resp.Status, ProtoMajor: 1, ProtoMinor: 1, Header: resp.Header}
	if err := errors.Join(head.Write(rw), rw.Flush()); err != nil {
		x.Rec.Reason, x.Rec.Error = hop.Cancelled, err.Error()
		return nil
	}
	// The request's context ends with ServeHTTP; the binding's ends the tunnel.
	stop := context.AfterFunc(b.ctx, func() { conn.Close(); up.Close() })
	defer stop()
	held, _ := rw.Reader.Peek(rw.Reader.Buffered()) // they are there
	x.join(&pipe.Half{Reader: pipe.Held(held, conn), Conn: conn}, &pipe.Half{Reader: up, Writer: up, Conn: x.conn}, x.Quiet())
	return nil
}

// join passes bytes both ways and counts them in the record.
func (x *exchange) join(caller, service *pipe.Half, idle time.Duration) {
	if err := pipe.Join(caller, service, idle, &x.Rec.In, &x.Rec.Out); err != nil {
		x.Rec.Error = err.Error()
	}
}

// serveTCP passes one connection of a TCP listener through.
func (b *binding) serveTCP(conn net.Conn, l *flow.Listener) {
	defer conn.Close()
	x := &exchange{p: b.p}
	x.Begin(b.p.plane, time.Now(), b.name, "tcp")
	x.Enter(l)
	defer x.Finish()
	trace(http.Header{}, true, &x.Exchange)
	refused := func(r hop.Reason, err error) {
		x.Rec.Reason, x.Rec.Error = r, err.Error()
		b.p.o.Log.Debug("tcp connection refused", "listener", b.name, "reason", r, "err", err)
	}
	if !b.enterTunnel() {
		refused(hop.Overload, errors.New("too many open connections"))
		return
	}
	defer b.leaveTunnel()
	var out net.Conn
	for out == nil {
		e, f := x.Take(b.ctx)
		if f != nil {
			refused(f.Reason, f)
			return
		}
		ctx, cancel := b.ctx, context.CancelFunc(func() {})
		if d := flow.OrDefault(x.Up.Connect, snapshot.DefaultConnect); d > 0 {
			ctx, cancel = context.WithTimeout(b.ctx, d)
		}
		c, err := b.p.o.Dial(ctx, "tcp", e.Address)
		cancel()
		if err == nil {
			x.Connected()
			out = c
			break
		}
		if _, f := x.Failed(flow.Attempt{Failure: flow.Dial, Err: err}); f != nil {
			refused(f.Reason, f)
			return
		}
	}
	defer out.Close()
	x.Begun()
	x.Sent = flow.Yes
	stop := context.AfterFunc(b.ctx, func() { conn.Close(); out.Close() })
	defer stop()
	x.join(&pipe.Half{Conn: conn}, &pipe.Half{Conn: out}, flow.OrDefault(x.Up.Idle, snapshot.DefaultTCPIdle))
}
