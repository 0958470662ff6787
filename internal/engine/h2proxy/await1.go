package h2proxy

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/retry"
)

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
