package outlier

import (
	"sync/atomic"
)

// Result is how an attempt ended, as far as it is the endpoint's doing.
type Result uint8

// The results.
const (
	Success Result = iota // any answer that is none of the following, 4xx and 429 included
	Failure               // an answer that says that it failed: 5xx but for those of Gateway
	Gateway               // 502, 503, 504: it or what stands behind it is not there
	Local                 // no answer: refused, reset, no head in time
)

// rows are the failures in a row, in one word: 21 bits each for Failure or Gateway,
// Gateway alone, and Local.
type rows uint64

const (
	rowBits = 21
	rowMax  = 1<<rowBits - 1
)

func (r rows) failures() int { return int(r & rowMax) }
func (r rows) gateways() int { return int(r >> rowBits & rowMax) }
func (r rows) locals() int   { return int(r >> (2 * rowBits) & rowMax) }

func makeRows(failures, gateways, locals int) rows {
	return rows(min(failures, rowMax)) | rows(min(gateways, rowMax))<<rowBits | rows(min(locals, rowMax))<<(2*rowBits)
}

// after gives the rows after one more result. An answer, even a failure, ends a row of
// none; no answer does not end a row of failures.
func (r rows) after(x Result) rows {
	switch x {
	case Failure:
		return makeRows(r.failures()+1, 0, 0)
	case Gateway:
		return makeRows(r.failures()+1, r.gateways()+1, 0)
	case Local:
		return makeRows(r.failures(), r.gateways(), r.locals()+1)
	}
	return 0
}

// Host is what an endpoint did, over its whole life. The zero value is one of which
// nothing is known.
type Host struct {
	rows atomic.Uint64
	now  window // since the last sweep

	until  atomic.Int64 // when the ejection ends; 0 when none is under way
	record atomic.Pointer[record]
	total  atomic.Int64 // ejections ever

	// Guarded by the lock of the detector that has it.
	before counts // between the two sweeps before
	back   int64  // since when it is in service, or one of its ejections was forgiven
}

// window counts results by kind.
type window struct{ ok, failed, local atomic.Int64 }

// counts are those of a window.
type counts struct{ ok, failed, local int64 }

func (w *window) read() counts {
	return counts{w.ok.Load(), w.failed.Load(), w.local.Load()}
}

func (w *window) take() counts {
	return counts{w.ok.Swap(0), w.failed.Swap(0), w.local.Swap(0)}
}

func (c counts) plus(o counts) counts {
	return counts{c.ok + o.ok, c.failed + o.failed, c.local + o.local}
}

func (c counts) all() int64 { return c.ok + c.failed + c.local }

// record is the last ejection; it never changes.
type record struct {
	count int // by which its length was multiplied
	why   Why
	text  string
}

// Status is the state of a host at one moment.
type Status struct {
	Ejected   bool
	Until     int64  // when the ejection ends, if it is ejected
	Count     int    // how often in short order: the length of the last ejection in bases; 0 when forgiven
	Ejections int64  // ever
	Why       Why    // of the last ejection, "" if there was none
	Text      string // the same for people
	Requests  int64  // since the last sweep
	Failures  int64  // of these, with those that have no answer
	Row       int    // failures in a row, of the kind of which there are most
}

// Status gives the state at now.
func (h *Host) Status(now int64) Status {
	c, r := h.now.read(), rows(h.rows.Load())
	s := Status{
		Ejections: h.total.Load(),
		Requests:  c.all(),
		Failures:  c.failed + c.local,
		Row:       max(r.failures(), r.locals()),
	}
	if u := h.until.Load(); u > now {
		s.Ejected, s.Until = true, u
	}
	if rec := h.record.Load(); rec != nil {
		s.Count, s.Why, s.Text = rec.count, rec.why, rec.text
	}
	return s
}

// count adds x and gives the rows with it.
func (h *Host) count(x Result) rows {
	switch x {
	case Success:
		h.now.ok.Add(1)
		if h.rows.Load() != 0 {
			h.rows.Store(0)
		}
		return 0
	case Local:
		h.now.local.Add(1)
	default:
		h.now.failed.Add(1)
	}
	for {
		old := h.rows.Load()
		next := rows(old).after(x)
		if h.rows.CompareAndSwap(old, uint64(next)) {
			return next
		}
	}
}
