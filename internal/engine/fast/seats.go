package fast

import (
	"slices"

	"stoa/internal/engine/poll"
)

// The connections with services that a loop keeps: those of its own, and of no other loop or
// goroutine. It takes them from the pool as it needs them, and sees at once when a service closes one.

// row is the idle connections of one endpoint at one loop, coldest first. Bytes that nobody asked
// for would be taken for the answer of whoever asks next, so none is given out that the poller was not
// asked of since it was kept: what was kept in this turn is given only if there is nothing else, and
// looked at first.
type row struct {
	p     *pool
	kept  []*upConn
	fresh []*upConn // kept in turn
	turn  int
	out   bool // cleared: what is in use is kept no more
}

// at makes what was kept in turns before this one ready to be given.
func (r *row) at(turn int) {
	if r.turn != turn {
		r.turn = turn
		r.kept = append(r.kept, r.fresh...)
		clear(r.fresh)
		r.fresh = r.fresh[:0]
	}
}

// pop takes the hottest.
func pop(list *[]*upConn) *upConn {
	k := len(*list) - 1
	if k < 0 {
		return nil
	}
	uc := (*list)[k]
	(*list)[k] = nil
	*list = (*list)[:k]
	return uc
}

// maxRow bounds it.
const maxRow = 1024

// get gives a connection with the endpoint of p at this loop, nil if none is kept.
func (l *loop) get(p *pool, n uint32) *upConn {
	r := l.rows[p]
	if r != nil {
		r.at(l.turn)
		for uc := pop(&r.kept); uc != nil; uc = pop(&r.kept) {
			if l.now.Sub(uc.since) < uc.keep && (!l.crowded || uc.open()) {
				return uc
			}
			l.shut(uc)
		}
		for uc := pop(&r.fresh); uc != nil; uc = pop(&r.fresh) {
			if uc.open() {
				return uc
			}
			l.shut(uc)
		}
	}
	if p.gone.Load() {
		return nil
	}
	uc := p.get(n, l.now)
	if uc == nil {
		return nil
	}
	fd, ok := poll.Detach(uc.nc)
	if !ok {
		p.unseated.Store(true)
		uc.nc.Close()
		return nil
	}
	uc.nc, uc.sock = nil, socket{}
	if l.sit(&uc.seat, fd, nil, uc) != nil {
		poll.Shut(fd)
		return nil
	}
	if r == nil {
		r = &row{p: p}
		l.rows[p] = r
	}
	uc.row = r
	return uc
}

// keep keeps uc for the next request.
func (l *loop) keep(uc *upConn) {
	uc.c = nil
	r := uc.row
	if uc.seat.gone || uc.seat.more || r.out || len(r.kept)+len(r.fresh) >= maxRow {
		l.shut(uc)
		return
	}
	uc.since, uc.used = l.now, true
	r.at(l.turn)
	r.fresh = append(r.fresh, uc)
}

// shut closes a connection that is in no row.
func (l *loop) shut(uc *upConn) {
	uc.c = nil
	poll.Shut(l.stand(&uc.seat))
}

// drop closes one that a service closed.
func (l *loop) drop(uc *upConn) {
	for _, list := range []*[]*upConn{&uc.row.kept, &uc.row.fresh} {
		if i := slices.Index(*list, uc); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
	l.shut(uc)
}

// sweep closes what has been idle too long.
func (l *loop) sweep() {
	for _, r := range l.rows {
		r.at(l.turn)
		cold := 0
		for cold < len(r.kept) && l.now.Sub(r.kept[cold].since) >= r.kept[cold].keep {
			l.shut(r.kept[cold])
			cold++
		}
		r.kept = slices.Delete(r.kept, 0, cold)
	}
}

// clear closes what is kept with an endpoint.
func (l *loop) clear(p *pool) {
	if r := l.rows[p]; r != nil {
		for _, uc := range append(r.kept, r.fresh...) {
			l.shut(uc)
		}
		r.out, r.kept, r.fresh = true, nil, nil
		delete(l.rows, p)
	}
}

// close closes the connection, wherever it is.
func (uc *upConn) close() {
	if l := uc.seat.l; l != nil {
		l.shut(uc)
		return
	}
	uc.nc.Close()
}
