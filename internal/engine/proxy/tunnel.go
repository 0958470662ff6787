package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// tunnel hands an upgraded connection through: on 101 both sides belong to the new
// protocol, with what they have buffered.
func (b *binding) tunnel(w http.ResponseWriter, resp *http.Response, x *exchange) *refusal {
	up, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return &refusal{reason: hop.BadAnswer, status: 502, text: x.up.service + " switched protocols on a connection that cannot"}
	}
	if !b.enterTunnel() {
		return &refusal{reason: hop.Overload, status: 503, text: "too many open connections at " + b.name}
	}
	defer b.leaveTunnel()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return &refusal{reason: hop.Defect, status: 502, text: "the connection cannot be upgraded", err: err}
	}
	defer conn.Close()
	conn.SetDeadline(time.Time{})
	x.rec.Status = resp.StatusCode
	connection, upgrade := resp.Header["Connection"], resp.Header["Upgrade"]
	removeHopByHop(resp.Header)
	delete(resp.Header, "Stoa-Reason")
	resp.Header["Connection"], resp.Header["Upgrade"] = connection, upgrade
	head := http.Response{StatusCode: resp.StatusCode, Status: resp.Status, ProtoMajor: 1, ProtoMinor: 1, Header: resp.Header}
	if err := errors.Join(head.Write(rw), rw.Flush()); err != nil {
		x.rec.Reason, x.rec.Error = hop.Cancelled, err.Error()
		return nil
	}
	// The request's context ends with ServeHTTP; the binding's ends the tunnel.
	stop := context.AfterFunc(b.ctx, func() { conn.Close(); up.Close() })
	defer stop()
	x.pipe(&half{Reader: buffered(rw.Reader, conn), conn: conn}, &half{Reader: up, Writer: up, conn: x.conn}, 0)
	return nil
}

// half is one side of a tunnel.
type half struct {
	io.Reader          // nil: conn
	io.Writer          // nil: conn
	conn      net.Conn // for half-close and deadlines; may be nil
}

func (h *half) Read(p []byte) (int, error) {
	if h.Reader != nil {
		return h.Reader.Read(p)
	}
	return h.conn.Read(p)
}

func (h *half) Write(p []byte) (int, error) {
	if h.Writer != nil {
		return h.Writer.Write(p)
	}
	return h.conn.Write(p)
}

// closeWrite passes the end of one direction on, the other stays open.
func (h *half) closeWrite() {
	if c, ok := h.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// buffered reads what r holds, then conn.
func buffered(r *bufio.Reader, conn net.Conn) io.Reader {
	n := r.Buffered()
	if n == 0 {
		return nil
	}
	held, _ := r.Peek(n) // they are there
	return io.MultiReader(newBytes(held), conn)
}

type bytesReader struct{ b []byte }

func newBytes(b []byte) *bytesReader { return &bytesReader{append([]byte(nil), b...)} }

func (r *bytesReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

// pipe copies both ways until both directions have ended, one has failed, or nothing
// has passed for idle (0: for ever). It counts into the record.
func (x *exchange) pipe(caller, service *half, idle time.Duration) {
	var last atomic.Int64 // when something passed
	last.Store(time.Now().UnixNano())
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	way := func(to, from *half, n *int64) {
		err := flow(to, from, n, idle, &last)
		if err == nil {
			to.closeWrite()
			return
		}
		failed.CompareAndSwap(nil, &err)
		for _, h := range [...]*half{caller, service} { // end the other direction, too
			if h.conn != nil {
				h.conn.Close()
			}
		}
	}
	wg.Go(func() { way(service, caller, &x.rec.In) })
	way(caller, service, &x.rec.Out)
	wg.Wait()
	if err := failed.Load(); err != nil && !errors.Is(*err, net.ErrClosed) {
		x.rec.Error = (*err).Error()
	}
}

// flow copies one direction. nil means that it ended by the sender's will.
func flow(to, from *half, n *int64, idle time.Duration, last *atomic.Int64) error {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		if idle > 0 {
			from.conn.SetReadDeadline(time.Unix(0, last.Load()).Add(idle))
		}
		k, err := from.Read(buf[:])
		if k > 0 {
			last.Store(time.Now().UnixNano())
			if idle > 0 {
				to.conn.SetWriteDeadline(time.Now().Add(idle))
			}
			m, werr := to.Write(buf[:k])
			*n += int64(m)
			if werr != nil {
				return werr
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, last.Load())) < idle {
			continue // the other direction was busy
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// serveTCP passes one connection of a TCP listener through.
func (b *binding) serveTCP(conn net.Conn, l *listener) {
	defer conn.Close()
	x := &exchange{p: b.p, up: l.tcp.up, series: l.tcp.series, rec: hop.Record{
		Start: time.Now(), Listener: b.name, Caller: l.Caller, Callee: l.tcp.callee, Protocol: "tcp", GRPC: -1,
	}}
	defer x.finish()
	trace(http.Header{}, true, &x.rec)
	refused := func(r hop.Reason, err error) {
		x.rec.Reason, x.rec.Error = r, err.Error()
		b.p.o.Log.Debug("tcp connection refused", "listener", b.name, "reason", r, "err", err)
	}
	if !b.enterTunnel() {
		refused(hop.Overload, errors.New("too many open connections"))
		return
	}
	defer b.leaveTunnel()
	hold := orDefault(x.up.Hold, snapshot.DefaultHold)
	until := time.Now().Add(hold)
	var out net.Conn
	for try := 0; out == nil; try++ {
		e, f := b.p.take(b.ctx, x.up, until, &x.rec)
		if f != nil {
			refused(f.reason, f)
			return
		}
		x.held = e
		x.rec.Endpoint, x.rec.Address, x.rec.Instance = e.ID, e.Address, e.Instance
		ctx, cancel := b.ctx, context.CancelFunc(func() {})
		if d := orDefault(x.up.Connect, snapshot.DefaultConnect); d > 0 {
			ctx, cancel = context.WithTimeout(b.ctx, d)
		}
		c, err := b.p.o.Dial(ctx, "tcp", e.Address)
		cancel()
		if err == nil {
			e.connected()
			out = c
			break
		}
		e.refused()
		if try >= maxAttempts || hold == 0 && x.onlyRefused() {
			refused(hop.Connect, err)
			return
		}
		b.p.release(e)
		x.held = nil
	}
	defer out.Close()
	x.rec.Attempts, x.sent = 1, Yes
	stop := context.AfterFunc(b.ctx, func() { conn.Close(); out.Close() })
	defer stop()
	x.pipe(&half{conn: conn}, &half{conn: out}, orDefault(x.up.Idle, snapshot.DefaultTCPIdle))
}
