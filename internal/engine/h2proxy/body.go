package h2proxy

import (
	"time"

	"stoa/internal/engine/h2"
)

// maxReplay is how much of a body is kept, so that it can be sent again.
const maxReplay = 64 << 10

// body is the body of a request over all its attempts.
type body struct {
	s       *h2.Stream
	length  int64 // declared; -1: not
	buf     []byte
	pos     int  // of buf is sent in this attempt
	gone    bool // what was sent before buf is not kept
	ended   bool // buf holds its end
	trailer *h2.Head
	read    int64
	spare   []byte
	stall   int64 // when a caller outside has sent nothing for too long; 0: nobody has asked
}

func (b *body) begin(s *h2.Stream) {
	b.s, b.length = s, s.Head.Length
	b.fill()
}

func (b *body) free() {
	b.trailer.Free()
	buf, spare := b.buf[:0], b.spare[:0]
	if cap(buf) > maxKept {
		buf = nil
	}
	if cap(spare) > maxKept {
		spare = nil
	}
	*b = body{buf: buf, spare: spare}
}

// fill takes what has come of the body, and says whether there was anything. err says that
// the caller has left.
func (b *body) fill() (more bool, err error) {
	if b.ended {
		return false, nil
	}
	if b.pos < len(b.buf) && len(b.buf) >= maxReplay {
		return true, nil // as much as is held at one time: its window stays shut
	}
	p := b.s.Poll(b.spare)
	if p.Err != nil {
		return false, p.Err
	}
	if p.Data != nil {
		b.spare = nil
		b.read += int64(len(p.Data))
		switch {
		case len(b.buf) == 0 || b.pos == len(b.buf) && (b.gone || len(b.buf)+len(p.Data) > maxReplay):
			b.gone = b.gone || len(b.buf) > 0
			b.spare = b.buf[:0]
			b.buf, b.pos = p.Data, 0
		default:
			b.buf = append(b.buf, p.Data...)
			b.spare = p.Data[:0]
		}
	}
	if p.End {
		b.ended, b.trailer = true, p.Trailer
	}
	return p.Data != nil || p.End, nil
}

// again begins the body anew.
func (b *body) again() { b.pos = 0 }

// none says that there is no body at all.
func (b *body) none() bool { return b.ended && b.read == 0 && b.trailer == nil }

// since begins to count the time in which a caller outside must send something.
func (b *body) since(s *Server) {
	if b.stall == 0 {
		b.moved(s)
	}
}

// moved notes that something came.
func (b *body) moved(s *Server) { b.stall = h2.At(time.Now().Add(s.o.Stall)) }
