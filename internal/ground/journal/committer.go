package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// CommitterOptions tune a Committer. The zero value is a good default.
type CommitterOptions struct {
	Queue    int                      // appends that may wait to be gathered; 0 means 1024. More block in Append.
	Owner    [16]byte                 // who we are in marks; zero means random, which is right outside of tests
	Gathered func(waiters, bytes int) // called by Run for each entry it tries; nil means no one wants to know
	Settled  func(seq Seq, err error) // called by Run when an unknown outcome has been settled; nil likewise
}

// A Committer gathers all who wait into one entry, since that is what makes a synced
// log fast: while one entry is on its way to the disk, the next one fills. It holds
// the log's position and is therefore the log's one writer.
//
// Each entry begins with a mark (see Body), so that the committer itself settles
// unknown outcomes. A stale answer means that another owner has written: the
// committer is lost then and gives ErrStale for good. Whoever owns the log reads what
// the other wrote and makes a new committer from there.
//
//	Append ..\                      one entry in flight,
//	Append ...> asks (bounded) -> Run -> Log.Append
//	Append ../                      the next one fills meanwhile
type Committer struct {
	log   Log
	o     CommitterOptions
	asks  chan *ask
	ended chan struct{} // closed when Run has returned
	began atomic.Bool

	// Of Run alone.
	after Seq
	n     uint64 // marks used
	carry *ask   // taken, but did not fit into the entry before
	lost  error
}

// ask is one Append that waits.
type ask struct {
	items [][]byte
	size  int
	state atomic.Int32 // queued, taken or withdrawn
	done  chan answer  // of one, so that answering never blocks
}

const (
	queued int32 = iota
	taken
	withdrawn
)

type answer struct {
	place Place
	err   error
}

// A Place says where an item is: the entry, and the index in its Body.
type Place struct {
	Seq  Seq
	Item int
}

// NewCommitter returns a committer that appends to l after the entry after, which its
// owner has read and knows to be the last. It does nothing until Run.
func NewCommitter(l Log, after Seq, o CommitterOptions) *Committer {
	if o.Queue == 0 {
		o.Queue = 1024
	}
	if o.Owner == ([16]byte{}) {
		_, _ = rand.Read(o.Owner[:]) // never fails, says its documentation
	}
	return &Committer{log: l, o: o, after: after, asks: make(chan *ask, o.Queue), ended: make(chan struct{})}
}

// stopGrace is how long a committer that was told to stop waits for the entry in
// flight: a disk answers in milliseconds, a cluster that elects a leader in seconds.
const stopGrace = 3 * time.Second

// maxGather is what fits into an entry beside the mark.
const maxGather = MaxEntry - MarkSize - ItemOverhead

// Append adds items to the log, together in one entry and in order, and returns the
// place of the first when they are durable. It blocks while the queue is full.
//
// If ctx ends before the committer took the items, they are withdrawn and the error is
// ctx's own; if it ends later, ErrUnknown. Items are borrowed until the outcome is
// known, so do not change them after ErrUnknown.
func (c *Committer) Append(ctx context.Context, items ...[]byte) (Place, error) {
	a := &ask{items: items, size: Size(items...), done: make(chan answer, 1)}
	if a.size > maxGather {
		return Place{}, fmt.Errorf("%w: %d bytes in %d items, at most %d fit", ErrTooBig, a.size, len(items), maxGather)
	}
	if err := ctx.Err(); err != nil {
		return Place{}, err
	}
	select {
	case c.asks <- a:
	case <-ctx.Done():
		return Place{}, ctx.Err()
	case <-c.ended:
		return Place{}, ErrClosed
	}
	select {
	case r := <-a.done:
		return r.place, r.err
	case <-ctx.Done():
		if a.state.CompareAndSwap(queued, withdrawn) {
			return Place{}, ctx.Err()
		}
		return Place{}, unknown(ctx.Err())
	case <-c.ended:
		if a.state.CompareAndSwap(queued, withdrawn) {
			return Place{}, ErrClosed
		}
		r := <-a.done // taken, so Run has answered
		return r.place, r.err
	}
}

// Run commits until ctx ends, then returns nil. What waits at that moment is refused
// with ErrClosed; the entry in flight gets stopGrace to become known. Run is called once.
func (c *Committer) Run(ctx context.Context) error {
	if c.began.Swap(true) {
		panic("journal: Committer.Run called twice")
	}
	defer c.refuse()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx by stopGrace, see above
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()
	for {
		group := c.gather(ctx)
		if group == nil {
			return nil
		}
		c.commit(work, group)
	}
}

// gather waits for one ask and takes what else waits, up to a full entry. nil: ctx ended.
func (c *Committer) gather(ctx context.Context) []*ask {
	var group []*ask
	size := 0
	take := func(a *ask) {
		if a.state.CompareAndSwap(queued, taken) || a == c.carry {
			group, size = append(group, a), size+a.size
		}
	}
	if c.carry != nil {
		take(c.carry)
		c.carry = nil
	}
	for len(group) == 0 {
		if ctx.Err() != nil { // asks may be ready too, but nothing new is begun
			return nil
		}
		select {
		case a := <-c.asks:
			take(a)
		case <-ctx.Done():
			return nil
		}
	}
	for {
		select {
		case a := <-c.asks:
			if size+a.size > maxGather {
				if a.state.CompareAndSwap(queued, taken) {
					c.carry = a
				}
				return group
			}
			take(a)
		default:
			return group
		}
	}
}

// commit brings one group into the log and tells its waiters.
func (c *Committer) commit(ctx context.Context, group []*ask) {
	if c.lost != nil {
		answerAll(group, 0, c.lost)
		return
	}
	c.n++
	items, bytes := [][]byte{Mark(c.o.Owner, c.n)}, 0
	for _, a := range group {
		items, bytes = append(items, a.items...), bytes+a.size
	}
	if c.o.Gathered != nil {
		c.o.Gathered(len(group), bytes)
	}
	seq, err := c.log.Append(ctx, c.after, items...)
	if errors.Is(err, ErrUnknown) || errors.Is(err, ErrStale) {
		// Stale may rest on an entry in flight, even on our own first try of a store
		// that repeats: only what can be read decides.
		seq, err = Settle(ctx, c.log, c.after, items...)
		if c.o.Settled != nil {
			c.o.Settled(seq, err)
		}
	}
	switch {
	case err == nil:
		c.after = seq
	case ctx.Err() != nil && !errors.Is(err, ErrUnknown):
		err = ErrClosed // the end came before the write began; the waiters' own contexts are well
	case errors.Is(err, ErrStale):
		c.lost = fmt.Errorf("another owner has written to the log after entry %d: %w", c.after, err)
		err = c.lost
	case errors.Is(err, ErrUnknown):
		// Only at the end: nothing may follow an entry that may yet appear.
		c.lost = fmt.Errorf("an earlier append was not settled: %w", ErrClosed)
	}
	answerAll(group, seq, err)
}

func answerAll(group []*ask, seq Seq, err error) {
	at := 0
	for _, a := range group {
		if err != nil {
			a.done <- answer{err: err}
			continue
		}
		a.done <- answer{place: Place{Seq: seq, Item: at}}
		at += len(a.items)
	}
}

// refuse answers everyone who still waits. Whoever comes later sees ended.
func (c *Committer) refuse() {
	if c.carry != nil {
		c.carry.done <- answer{err: ErrClosed}
	}
	close(c.ended)
}

// Body gives the items of an entry that a Committer wrote, without the mark. An entry
// written otherwise has no mark; Body would take its first item for one.
func Body(e Entry) [][]byte { return e.Items[min(1, len(e.Items)):] }
