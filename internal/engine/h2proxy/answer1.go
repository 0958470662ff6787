package h2proxy

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"stoa/internal/engine/h1"
	"stoa/internal/engine/h2"
	"stoa/internal/engine/h2/hpack"
)

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
