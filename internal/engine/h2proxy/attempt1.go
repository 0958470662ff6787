package h2proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/h2"
	"stoa/internal/engine/h2/hpack"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// upConn is a connection to a service of HTTP/1.1.
type upConn struct {
	nc    net.Conn
	since time.Time     // idle since
	keep  time.Duration // how long the service keeps it
	used  bool          // it carried a request before
	cut   func()        // ends what reads of it
}

var longAgo = time.Unix(1, 0)

// open says whether the other side has neither closed nor sent anything.
func (c *upConn) open() bool {
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = err == syscall.EAGAIN
	})
	return err == nil && alive
}

// attempt1 sends the request over HTTP/1.1 and forwards the answer, as attempt2 does.
func (w *work) attempt1(e *flow.Endpoint, safe bool) (again bool, f *flow.Refusal) {
	x, b := &w.x, &w.body
	ways := w.srv.o.Upstreams.ways(e, x.Up)
	if _, err := b.fill(); err != nil {
		return false, flow.Left(err)
	}
	b.again()
	var uc *upConn
	if !x.Fresh {
		uc = ways.h1.get(time.Now(), !safe)
	}
	if uc == nil {
		if uc, f, again = w.dial(ways); uc == nil {
			return again, f
		}
	}
	x.Begun()
	a := attempt{w: w, uc: uc, reused: uc.used, safe: safe}
	return a.run(&ways.h1, e)
}

func (w *work) dial(ways *ways) (uc *upConn, f *flow.Refusal, again bool) {
	x := &w.x
	ctx, stop := w.watched(x.Deadline(), flow.ErrDeadline)
	nc, err := ways.connect(ctx)
	if gone := err != nil && ctx.Err() != nil; gone {
		f = flow.Gone(ctx, x.Up)
	}
	stop()
	switch {
	case f != nil:
		return nil, f, false
	case err == nil:
		x.Connected()
		uc := &upConn{nc: nc, keep: flow.OrDefault(x.Up.Idle, snapshot.DefaultIdle)}
		if uc.keep == 0 {
			uc.keep = 1 << 60
		}
		uc.cut = func() { nc.SetReadDeadline(longAgo) }
		return uc, nil, false
	}
	pause, f := x.Failed(flow.Attempt{Failure: flow.Dial, Untouched: !w.body.gone, Err: err})
	if f == nil {
		f = w.pause(pause)
	}
	return nil, f, f == nil
}

// attempt is one over HTTP/1.1.
type attempt struct {
	w      *work
	uc     *upConn
	reused bool
	safe   bool
	heard  bool
	whole  bool    // the request left whole with its head
	up     *upload // sends the rest; nil if there is none
}

func (a *attempt) run(pool *idle, e *flow.Endpoint) (again bool, f *flow.Refusal) {
	w, uc := a.w, a.uc
	x := &w.x
	w.ur, w.uw = 0, 0
	w.resp.Reset()
	a.head()
	uc.nc.SetWriteDeadline(time.Time{})
	_, err := uc.nc.Write(w.out)
	if err == nil {
		if !a.whole {
			a.up = w.startUpload(uc)
		}
		w.s.Interrupt(uc.cut)
		err = a.answerHead()
	}
	if err != nil {
		return a.failed(err)
	}
	resp := &w.resp
	v := flow.AnswerHead{Status: resp.Status, GRPC: -1, Length: resp.ContentLength, Untouched: a.untouched(), Safe: a.safe}
	advice1(&v, resp, w.up[w.ur:w.uw])
	again, pause := x.Answered(v)
	if again {
		a.end(false)
		if f := w.pause(pause); f != nil {
			return false, f
		}
		return true, nil
	}
	if resp.Status == 101 {
		a.end(false)
		return false, &flow.Refusal{Reason: hop.BadAnswer, Status: 502, Text: x.Up.Service + " switched protocols unasked"}
	}
	if v := resp.Value(w.up[w.ur:], h1.KeepAlive); v != nil {
		if n, ok := h1.KeepAliveTimeout(v); ok {
			uc.keep = min(uc.keep, time.Duration(max(n-1, 0))*time.Second)
		}
	}
	if v.GRPC >= 0 {
		x.Rec.GRPC = v.GRPC
	}
	head := x.Rec.Method == "HEAD"
	clean := a.forward(head)
	reusable := clean && resp.Reusable(head) && w.uw == w.ur
	if a.end(reusable) {
		pool.put(uc, time.Now(), e.Draining())
	}
	return false, nil
}

// untouched says whether the body can be sent again.
func (a *attempt) untouched() bool {
	if a.up != nil {
		a.up.mu.Lock()
		defer a.up.mu.Unlock()
	}
	return !a.w.body.gone
}

// end ends the attempt, and says whether its connection can be used again.
func (a *attempt) end(reusable bool) bool {
	w := a.w
	w.s.Interrupt(nil)
	if a.up != nil {
		if !a.up.stop() {
			reusable = false
		}
	}
	w.x.Rec.In = w.body.read
	if !reusable {
		a.uc.nc.Close()
	}
	return reusable
}

// failed says what follows an attempt that brought no answer.
func (a *attempt) failed(err error) (again bool, f *flow.Refusal) {
	w := a.w
	x := &w.x
	a.end(false)
	if w.s.Err() != nil || errors.Is(err, errLeft) || w.srv.ctx.Err() != nil {
		return false, flow.Left(errLeft)
	}
	if a.up != nil && a.up.err == errSlowBody {
		return false, &flow.Refusal{Reason: hop.BadRequest, Status: 408, Text: errSlowBody.Error()}
	}
	v := flow.Attempt{Failure: flow.Broke, Reused: a.reused, Answered: a.heard, Untouched: !w.body.gone, Safe: a.safe, Err: err}
	var bad *h1.Error
	switch {
	case errors.As(err, &bad):
		v.Failure = flow.Garbled
	case errors.Is(err, os.ErrDeadlineExceeded):
		if d := x.Deadline(); !d.IsZero() && !time.Now().Before(d) {
			return false, flow.Late(x.Up, err)
		}
		v.Failure = flow.Slow
	}
	pause, f := x.Failed(v)
	if f == nil {
		f = w.pause(pause)
	}
	return f == nil, f
}

// head puts the head, and as much of the body as is here, into w.out.
func (a *attempt) head() {
	w := a.w
	b := &w.body
	out := w.head1(w.out[:0])
	have := b.buf[b.pos:]
	a.whole = b.ended
	switch {
	case b.none():
		switch w.x.Rec.Method {
		case "POST", "PUT", "PATCH":
			out = append(out, "Content-Length: 0\r\n"...)
		}
		out = append(out, "\r\n"...)
	case b.trailer == nil && (b.ended && !b.gone || b.length >= 0):
		n := b.length
		if b.ended {
			n = int64(len(b.buf))
		}
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, n, 10)
		out = append(out, "\r\n\r\n"...)
		out = append(out, have...)
	default:
		out = append(out, "Transfer-Encoding: chunked\r\n\r\n"...)
		out = appendChunk(out, have)
		if b.ended {
			out = appendLast(out, b.trailer)
		}
	}
	b.pos = len(b.buf)
	w.out = out
}

func appendChunk(out, data []byte) []byte {
	if len(data) == 0 {
		return out
	}
	out = strconv.AppendInt(out, int64(len(data)), 16)
	out = append(out, "\r\n"...)
	out = append(out, data...)
	return append(out, "\r\n"...)
}

func appendLast(out []byte, trailer *h2.Head) []byte {
	out = append(out, "0\r\n"...)
	if trailer != nil {
		for i := range trailer.Len() {
			name, value := trailer.At(i)
			if h1.Identify(name).InTrailer() {
				out = appendField(out, name, value)
			}
		}
	}
	return append(out, "\r\n"...)
}

// upload sends the rest of a body while the answer is awaited. It has the body until stop.
type upload struct {
	w       *work
	uc      *upConn
	chunked bool
	wake    *h2.Waker
	done    chan struct{}
	stopped atomic.Bool
	sent    atomic.Bool // all of it

	mu  sync.Mutex // held while the body is looked at
	err error      // may be read when done is closed
}

func (w *work) startUpload(uc *upConn) *upload {
	u := &upload{w: w, uc: uc, chunked: w.body.length < 0, wake: h2.NewWaker(), done: make(chan struct{})}
	w.s.Wake(u.wake, w.s.Waker())
	go u.run()
	return u
}

func (u *upload) run() {
	defer close(u.done)
	b := &u.w.body
	var out []byte
	stall := time.NewTimer(u.w.srv.o.Stall)
	defer stall.Stop()
	for !u.stopped.Load() {
		u.mu.Lock()
		more, err := b.fill()
		have := b.buf[b.pos:]
		b.pos = len(b.buf)
		ended := b.ended
		out = out[:0]
		if u.chunked {
			out = appendChunk(out, have)
			if ended {
				out = appendLast(out, b.trailer)
			}
		} else {
			out = append(out, have...)
		}
		u.mu.Unlock()
		if err != nil {
			u.err = errLeft
			u.uc.cut()
			return
		}
		if len(out) > 0 {
			if _, err := u.uc.nc.Write(out); err != nil {
				u.err = err
				return // an answer may have come: it says how to go on
			}
		}
		if ended {
			u.sent.Store(true)
			return
		}
		if more {
			stall.Reset(u.w.srv.o.Stall)
			continue
		}
		select {
		case <-u.wake.C():
		case <-stall.C:
			if u.w.x.Edge {
				u.err = errSlowBody
				u.uc.cut()
				return
			}
			stall.Reset(u.w.srv.o.Stall)
		}
	}
}

// stop ends the upload and says whether all was sent.
func (u *upload) stop() bool {
	if !u.sent.Load() {
		u.stopped.Store(true)
		u.uc.nc.Close()
		u.wake.Poke()
	}
	<-u.done
	u.w.s.Wake(u.w.s.Waker(), u.w.s.Waker())
	return u.sent.Load()
}

// over says whether nothing is left to send.
func (u *upload) over() bool { return u.sent.Load() }

// answerHead reads heads of answers until there is one that is not interim, which are passed on.
func (a *attempt) answerHead() error {
	w, uc := a.w, a.uc
	x := &w.x
	now := time.Now()
	end := x.TryDeadline()
	uploading := !a.whole && !x.Bounded()
	if uploading {
		end = time.Time{}
	}
	by := time.Time{}
	if head := x.Up.Head; head > 0 {
		by = now.Add(head)
	}
	if w.up == nil {
		w.up = make([]byte, 8<<10)
	}
	limits := h1.Limits{Head: 256 << 10, Fields: 1000}
	interim := 0
	a.deadline(end, by, uploading)
	runtime.Gosched() // others are served meanwhile: then the answer is there, and no read is in vain
	for {
		in := w.up[w.ur:w.uw]
		err := h1.ErrShort
		if len(in) > 0 {
			err = w.resp.Parse(in, limits)
		}
		if err == nil {
			if w.resp.Status >= 200 || w.resp.Status == 101 {
				return nil
			}
			if interim++; interim > 64 {
				return &h1.Error{Status: 502, Text: "more than 64 interim answers to one request"}
			}
			w.interim1(in[:w.resp.Len])
			w.ur += w.resp.Len
			continue
		}
		if err != h1.ErrShort {
			return err
		}
		if w.uw == len(w.up) {
			grown := w.up
			if w.ur == 0 {
				grown = make([]byte, 2*len(w.up))
			}
			w.uw = copy(grown, in)
			w.up, w.ur = grown, 0
		}
		n, err := uc.nc.Read(w.up[w.uw:])
		if n > 0 {
			if !a.heard {
				a.heard = true
				x.Answering()
			}
			w.uw += n
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if w.s.Err() != nil || w.srv.ctx.Err() != nil {
			return errLeft
		}
		if uploading && (a.up == nil || a.up.over()) {
			uploading = false
			x.Uploaded()
			end = x.TryDeadline()
		} else if t := earliest(end, by); !t.IsZero() && !time.Now().Before(t) || !uploading {
			return err
		}
		select {
		case <-a.done():
			if !a.up.over() {
				return err
			}
		default:
		}
		a.deadline(end, by, uploading)
	}
}

// done is closed when the upload has ended; it blocks if there is none.
func (a *attempt) done() <-chan struct{} {
	if a.up == nil {
		return nil
	}
	return a.up.done
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// deadline sets when a read is to end. While a body is sent it is looked after each second.
func (a *attempt) deadline(end, by time.Time, uploading bool) {
	t := earliest(end, by)
	if uploading {
		t = earliest(t, time.Now().Add(time.Second))
	}
	a.uc.nc.SetReadDeadline(t)
	if a.w.s.Err() != nil { // between the two
		a.uc.cut()
	}
}

func (w *work) interim1(in []byte) {
	if w.resp.Status == 100 {
		return // nobody asked
	}
	w.start(w.resp.Status)
	w.fields1(in, false)
	w.s.SendHead(w.fields, false)
}

// fields1 adds the fields of an answer that are sent on.
func (w *work) fields1(in []byte, edits bool) {
	for i := range w.resp.Fields {
		f := &w.resp.Fields[i]
		if f.Hop || f.ID == h1.StoaField {
			continue
		}
		name, value := f.Name.In(in), f.Value.In(in)
		if edits && w.x.DropsAnswer(text(name)) {
			continue
		}
		w.field(w.lower(text(name)), value, how(f.ID, value))
	}
}

// advice1 reads what an answer says to a verdict.
func advice1(a *flow.AnswerHead, resp *h1.Response, b []byte) {
	a.ContentType = text(resp.Value(b, h1.ContentType))
	a.RetryAfter, a.Pushback = text(resp.Value(b, h1.RetryAfter)), text(resp.Value(b, h1.GRPCRetryPushback))
	if v := resp.Value(b, h1.GRPCStatus); v != nil {
		if n, err := strconv.Atoi(text(v)); err == nil && n >= 0 {
			a.GRPC = n
		}
	}
	if resp.Index(h1.StoaField) == 0 {
		return
	}
	for i := range resp.Fields {
		if f := &resp.Fields[i]; f.ID == h1.StoaField && sameName(lowered(f.Name.In(b)), retry.NoRetryField) {
			a.NoRetry = retry.ParseNoRetry(f.Value.In(b))
		}
	}
}

func lowered(b []byte) []byte {
	out := append([]byte(nil), b...)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c | 0x20
		}
	}
	return out
}

// big are the buffers of bodies that do not fit in what a head is read into.
var big = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// forward sends the answer whose head was read to the caller. It says whether it came to its
// end, clean.
func (a *attempt) forward(head bool) bool {
	w := a.w
	x, resp := &w.x, &w.resp
	in := w.up[w.ur:w.uw]
	x.Rec.Status = resp.Status
	kind := resp.Body(head)
	left := resp.ContentLength
	none := kind == h1.NoBody || kind == h1.Sized && left == 0
	w.start(resp.Status)
	w.fields1(in[:resp.Len], x.EditsAnswer())
	w.ours()
	w.begun = true
	if err := w.s.SendHead(w.fields, none); err != nil {
		w.broke(errLeft)
		return false
	}
	w.ur += resp.Len
	if none {
		return true
	}
	in = w.up[w.ur:w.uw]
	w.ur = w.uw
	buf := w.up
	if kind != h1.Sized || left > int64(len(w.up)) {
		large := big.Get().(*[64 << 10]byte)
		defer big.Put(large)
		buf = large[:]
	}
	w.chunks.Answer = true
	w.chunks.Reset()
	for {
		for len(in) > 0 {
			data, n, end := in, len(in), false
			switch kind {
			case h1.Sized:
				n = int(min(int64(n), left))
				data = in[:n]
				left -= int64(n)
				end = left == 0
			case h1.InChunks:
				var err error
				if data, n, err = w.chunks.NextData(in); err != nil {
					w.broke(err)
					return false
				}
				if w.chunks.Done() {
					if len(data) > 0 {
						if err := w.send(data, false); err != nil {
							w.broke(err)
							return false
						}
					}
					if err := w.trailers1(); err != nil {
						w.broke(err)
						return false
					}
					return n == len(in) // bytes behind an answer spoil the connection
				}
			}
			in = in[n:]
			if len(data) == 0 {
				continue
			}
			if err := w.send(data, end); err != nil {
				w.broke(err)
				return false
			}
			if end {
				return len(in) == 0
			}
		}
		n, err := a.more(buf)
		in = buf[:n]
		switch {
		case n > 0:
		case err == io.EOF && kind == h1.UntilClose:
			if err := w.send(nil, true); err != nil {
				w.broke(err)
			}
			return false
		default:
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if errors.Is(err, os.ErrDeadlineExceeded) && w.s.Err() == nil {
				err = errLate
			}
			w.broke(err)
			return false
		}
	}
}

// more reads of the service.
func (a *attempt) more(buf []byte) (int, error) {
	end := a.w.x.Deadline()
	if quiet := a.w.x.Quiet(); quiet > 0 {
		end = time.Now().Add(quiet)
	}
	a.uc.nc.SetReadDeadline(end)
	if a.w.s.Err() != nil { // between the two
		return 0, errLeft
	}
	return a.uc.nc.Read(buf)
}

func (w *work) trailers1() error {
	w.reset()
	for name, value := range w.chunks.Trailers {
		n := w.lower(text(name))
		id := h1.Identify(n)
		if id == h1.GRPCStatus {
			w.grpc(value)
		}
		w.field(n, value, hpack.Plain)
	}
	if len(w.fields) == 0 {
		return w.send(nil, true)
	}
	if err := w.s.SendHead(w.fields, true); err != nil {
		return errLeft
	}
	return nil
}

// send sends p to the caller, and waits until all of it has room.
func (w *work) send(p []byte, end bool) error {
	for {
		n, err := w.s.Send(p, end)
		if err != nil {
			return errLeft
		}
		w.x.Rec.Out += int64(n)
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		until := h2.At(w.x.Deadline())
		if quiet := w.x.Quiet(); quiet > 0 {
			until = h2.At(time.Now().Add(quiet))
		}
		w.s.Until(until)
		w.s.Waker().Wait()
		if until != 0 && h2.At(time.Now()) >= until {
			if n, err = w.s.Send(p, end); n == 0 || err != nil {
				return errLate
			}
			w.x.Rec.Out += int64(n)
			if p = p[n:]; len(p) == 0 {
				return nil
			}
		}
	}
}
