package fast

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"stoa/internal/engine/h1"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/pipe"
)

// big are the buffers of bodies that do not fit in a read buffer.
var big = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// framing says how a body is framed for the caller.
type framing int

const (
	asItCame  framing = iota // its bytes are the caller's
	rechunked                // in chunks of ours: the service ends it by closing
	bare                     // data alone, ended by closing: for HTTP/1.0
)

// forward sends the head that was read of an answer to the caller, with what is there of the
// body, and says whether that was all.
func (r *request) forward() (end bool, err error) {
	c, x, w := r.c, r.x, r.c.w
	resp, b := &w.resp, w.up[w.ur:w.uw]
	r.uc.learn(resp, b)
	x.Rec.Status = resp.Status
	if v := resp.Value(b, h1.GRPCStatus); v != nil {
		r.grpc(v)
	}
	kind := resp.Body(w.req.Verb == h1.HEAD)
	as := asItCame
	r.kind = kind
	old := w.req.Minor == 0
	switch {
	case kind == h1.UntilClose && old, kind == h1.InChunks && old:
		as = bare
		r.keep = false
	case kind == h1.UntilClose:
		as = rechunked
	}
	r.as = as
	if !r.whole && (r.upload == nil || !r.upload.over()) || c.s.draining.Load() {
		r.keep = false
	}
	rest := b[resp.Len:]
	w.ur += resp.Len
	head := b[:resp.Len]
	plain := r.keep && !old && resp.Minor == 1 && as == asItCame
	for i := range resp.Fields {
		if f := &resp.Fields[i]; f.ID == h1.StoaField || f.Hop && (f.ID != h1.TransferEncoding || kind != h1.InChunks) {
			plain = false
		}
	}
	if x.EditsAnswer() {
		plain = false
	}
	r.begun = true
	if plain { // the bytes that came are the bytes that leave
		n, end, err := r.body(kind, rest)
		if r.tape {
			r.record(rest[:n])
		}
		if err == nil {
			err = r.send(b[:resp.Len+n])
			w.ur += n
		}
		return end, err
	}
	out := appendStatus(w.out[:0], resp, head)
	out = appendFields(out, resp, head, x)
	switch {
	case as == rechunked, kind == h1.InChunks && as == asItCame:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case !r.keep:
		out = append(out, "Connection: close\r\n"...)
	}
	out = x.AppendAnswer(out)
	if x.Secures() {
		out = x.AppendSecure(out, func(name string) bool { return hasField(resp, head, name) })
	}
	out = append(out, "\r\n"...)
	if as != asItCame {
		w.out = out[:0]
		w.answer.Answer = true
		w.answer.Reset()
		return false, r.send(out)
	}
	n, end, err := r.body(kind, rest)
	if r.tape {
		r.record(rest[:n])
	}
	if err == nil {
		out = append(out, rest[:n]...)
		w.ur += n
		err = r.send(out)
	}
	w.out = out[:0]
	return end, err
}

// body says how many of the bytes that were read behind the head are of the body and can
// leave as they are, and whether they end it. Chunks with extensions or trailers begin
// in stream.
func (r *request) body(kind h1.Body, rest []byte) (n int, end bool, err error) {
	w := r.c.w
	switch kind {
	case h1.NoBody:
		return 0, true, nil
	case h1.Sized:
		r.sized = w.resp.ContentLength
		n = int(min(int64(len(rest)), r.sized))
		r.sized -= int64(n)
		r.x.Rec.Out += int64(n)
		return n, r.sized == 0, nil
	case h1.InChunks:
		w.answer.Answer = true
		w.answer.Reset()
		if len(rest) == 0 {
			return 0, false, nil
		}
		pass, n, err := w.answer.Next(rest)
		if err != nil || len(pass) != n || n > 0 && &pass[0] != &rest[0] {
			w.answer.Reset() // an extension or trailers: stream sends the parts
			return 0, false, nil
		}
		return n, w.answer.Done(), nil
	}
	return 0, false, nil
}

// errCaller marks what failed on the caller's side.
type errCaller struct{ error }

func (e errCaller) Unwrap() error { return e.error }

func (r *request) send(b []byte) error {
	if err := r.c.write(b); err != nil {
		r.c.gone.Store(true)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			pipe.Reset(r.c.nc) // else the kernel goes on with what waits, at the pace of who takes nothing
		}
		return errCaller{err}
	}
	return nil
}

// ended forwards what is left of the body, and notes how it ended.
func (r *request) ended(uc *upConn, end bool, err error) bool {
	c, x, w, kind := r.c, r.x, r.c.w, r.kind
	if err == nil && !end {
		err = r.stream(uc, kind, r.as)
	}
	if kind == h1.InChunks {
		x.Rec.Out = w.answer.Data()
		if v := w.answer.Trailer(h1.GRPCStatus); v != nil && err == nil {
			r.grpc(v)
		}
	}
	if r.tape {
		r.recorded(kind, err == nil)
	}
	if err == nil {
		return kind != h1.UntilClose
	}
	r.keep = false
	x.Rec.Error, x.Rec.Reason = err.Error(), hop.Truncated
	var caller errCaller
	switch {
	case errors.As(err, &caller) || c.gone.Load() || c.s.ctx.Err() != nil:
		x.Rec.Reason = hop.Cancelled
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.Rec.Reason = hop.Deadline
	}
	return false
}

func (r *request) grpc(v []byte) {
	if n, err := strconv.Atoi(text(v)); err == nil && n >= 0 {
		r.x.Rec.GRPC = n
	}
}

// stream forwards the body from what is unread of the answer on, to its end.
func (r *request) stream(uc *upConn, kind h1.Body, as framing) error {
	c, w := r.c, r.c.w
	buf := w.up
	if kind != h1.Sized || r.sized > int64(len(w.up)) {
		large := big.Get().(*[64 << 10]byte)
		defer big.Put(large)
		buf = large[:]
	}
	in := w.up[w.ur:w.uw]
	for {
		left, end, err := r.passed(in)
		if err != nil {
			return err
		}
		if end {
			w.ur, w.uw = 0, len(left) // bytes behind an answer spoil the connection
			return nil
		}
		n, err := r.more(uc, buf)
		in = buf[:n]
		if n > 0 {
			continue
		}
		if err == io.EOF && kind == h1.UntilClose {
			w.ur, w.uw = 0, 0
			if as == rechunked {
				return r.send([]byte("0\r\n\r\n"))
			}
			return nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if c.gone.Load() {
			return errCaller{errLeft}
		}
		return err
	}
}

// passed forwards in, up to the end of the body if that is there.
func (r *request) passed(in []byte) (left []byte, end bool, err error) {
	for len(in) > 0 {
		n, err := r.pass(in, r.kind, r.as)
		if err != nil {
			return in, false, err
		}
		if r.tape {
			r.record(in[:n])
		}
		in = in[n:]
		if r.kind == h1.Sized && r.sized == 0 || r.kind == h1.InChunks && r.c.w.answer.Done() {
			return in, true, nil
		}
	}
	return nil, false, nil
}

// pass forwards a part of the body, and says how much of in that was.
func (r *request) pass(in []byte, kind h1.Body, as framing) (int, error) {
	w := r.c.w
	switch {
	case kind == h1.Sized:
		n := int(min(int64(len(in)), r.sized))
		r.sized -= int64(n)
		r.x.Rec.Out += int64(n)
		return n, r.send(in[:n])
	case kind == h1.InChunks && as == bare:
		data, n, err := w.answer.NextData(in)
		if err == nil && len(data) > 0 {
			err = r.send(data)
		}
		return n, err
	case kind == h1.InChunks:
		pass, n, err := w.answer.Next(in)
		if len(pass) > 0 {
			if serr := r.send(pass); serr != nil {
				return n, serr
			}
		}
		return n, err
	}
	r.x.Rec.Out += int64(len(in))
	if as == bare {
		return len(in), r.send(in)
	}
	out := strconv.AppendInt(w.out[:0], int64(len(in)), 16)
	out = append(out, "\r\n"...)
	out = append(out, in...)
	out = append(out, "\r\n"...)
	w.out = out[:0]
	return len(in), r.send(out)
}

// more reads of the service. When that takes a while the caller is watched.
func (r *request) more(uc *upConn, buf []byte) (int, error) {
	end := r.x.Deadline()
	if quiet := r.x.Quiet(); quiet > 0 {
		end = time.Now().Add(quiet)
	}
	until := end
	if r.stop == nil {
		until = time.Now().Add(patience)
		if !end.IsZero() && end.Before(until) {
			until = end
		}
		uc.nc.SetReadDeadline(until)
	}
	for {
		n, err := uc.sock.read(uc.nc, buf)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || r.c.gone.Load() {
			return n, err
		}
		if r.spoiled() {
			return 0, errCaller{r.upload.err}
		}
		now := time.Now()
		if !end.IsZero() && !now.Before(end) {
			return 0, err
		}
		r.watch(uc)
		until = end
		if r.stop == nil {
			until = now.Add(time.Second)
		}
		uc.nc.SetReadDeadline(until)
		if r.c.gone.Load() {
			return 0, errCaller{errLeft}
		}
		if r.spoiled() { // between the two
			return 0, errCaller{r.upload.err}
		}
	}
}

// hasField says whether an answer has a field of this name.
func hasField(resp *h1.Response, b []byte, name string) bool {
	for i := range resp.Fields {
		if sameName(resp.Fields[i].Name.In(b), name) {
			return true
		}
	}
	return false
}
