package fast

import (
	"slices"

	"stoa/internal/engine/poll"
)

// The connections with services that a loop keeps: those of its own, and of no other loop or
// goroutine. It takes them from the pool as it needs them, and sees at once when a service closes one.

// row is the idle connections of one endpoint at one loop, coldest first.
type row struct {
	p    *pool
	kept []*upConn
	out  bool // cleared: what is in use is kept no more
}

// maxRow bounds it.
const maxRow = 1024

// get gives a connection with the endpoint of p at this loop, nil if none is kept. sure is as for
// pool.get.
func (l *loop) get(p *pool, n uint32, sure bool) *upConn {
	r := l.rows[p]
	for r != nil && len(r.kept) > 0 {
		k := len(r.kept) - 1
		uc := r.kept[k]
		r.kept[k] = nil
		r.kept = r.kept[:k]
		if rested := l.now.Sub(uc.since); rested < uc.keep && (!sure && rested < stale || uc.open()) {
			return uc
		}
		l.shut(uc)
	}
	if p.gone.Load() {
		return nil
	}
	uc := p.get(n, l.now, sure)
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
	if uc.seat.gone || uc.seat.more || r.out || len(r.kept) >= maxRow {
		l.shut(uc)
		return
	}
	uc.since, uc.used = l.now, true
	r.kept = append(r.kept, uc)
}

// shut closes a connection that is in no row.
func (l *loop) shut(uc *upConn) {
	uc.c = nil
	poll.Shut(l.stand(&uc.seat))
}

// drop closes one that a service closed.
func (l *loop) drop(uc *upConn) {
	if i := slices.Index(uc.row.kept, uc); i >= 0 {
		uc.row.kept = slices.Delete(uc.row.kept, i, i+1)
	}
	l.shut(uc)
}

// sweep closes what has been idle too long.
func (l *loop) sweep() {
	for _, r := range l.rows {
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
		for _, uc := range r.kept {
			l.shut(uc)
		}
		r.out, r.kept = true, nil
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
