package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"stoa/internal/ground/journal"
)

// The crash suite: writers of every sort work on a store in memory while the power
// is cut again and again at random points. A cut is a clone of the disk with all that
// was synced and a random part of what was not. On each clone a store must open and
// hold what had been acknowledged or read before the cut, whole and in order.
//
// The control acknowledges before the sync. If the suite does not catch that, it
// proves nothing, and fails.

const (
	crashWorkloads = 24
	cutsEach       = 14
)

func long() bool { return os.Getenv("STOA_LONG") == "1" }

// crashSeed is random and printed; STOA_SEED repeats one.
func crashSeed(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STOA_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("STOA_SEED: %v", err)
		}
	}
	t.Logf("STOA_SEED=%d", seed)
	return seed
}

func TestNothingAcknowledgedIsLostInAPowerCut(t *testing.T) {
	seed, workloads := crashSeed(t), crashWorkloads
	if long() {
		workloads *= 20
	}
	var sum tally
	for w := range workloads {
		sum.add(crashWorkload(t, seed+uint64(w), false))
	}
	t.Logf("%d power cuts: %d entries and %d table states acknowledged or read before them, %d and %d lost",
		sum.cuts, sum.entries, sum.states, sum.lostEntries, sum.lostStates)
	for _, v := range sum.violations {
		t.Errorf("%s", v)
	}
}

func TestTheCrashSuiteCatchesAnEarlyAcknowledgement(t *testing.T) {
	seed := crashSeed(t)
	var sum tally
	for w := 0; sum.lostEntries == 0 || sum.lostStates == 0; w++ {
		if w == 3*crashWorkloads {
			t.Fatalf("the control was not caught in %d power cuts: %d entries and %d table states lost", sum.cuts, sum.lostEntries, sum.lostStates)
		}
		sum.add(crashWorkload(t, seed+uint64(w), true))
	}
	t.Logf("control: %d power cuts: %d entries and %d table states acknowledged or read, %d and %d lost",
		sum.cuts, sum.entries, sum.states, sum.lostEntries, sum.lostStates)
}

// tally sums up what was checked and what was found.
type tally struct {
	cuts, entries, states   int
	lostEntries, lostStates int
	violations              []string
}

func (a *tally) add(b tally) {
	a.cuts, a.entries, a.states = a.cuts+b.cuts, a.entries+b.entries, a.states+b.states
	a.lostEntries, a.lostStates = a.lostEntries+b.lostEntries, a.lostStates+b.lostStates
	a.violations = append(a.violations, b.violations...)
}

func (a *tally) bad(format string, args ...any) {
	if a.violations = append(a.violations, fmt.Sprintf(format, args...)); len(a.violations) > 20 {
		a.violations = a.violations[:20]
	}
}

// ledger is what the workers know to be so.
type ledger struct {
	mu   sync.Mutex
	acks int
	more *sync.Cond // acks has grown
	logs map[string]*logFacts
	keys map[string]*keyFacts
}

type logFacts struct {
	known     journal.Seq // acknowledged, or seen by a reader
	tried     journal.Seq // the last that may have been written
	cutKnown  journal.Seq // an acknowledged cut
	cutTried  journal.Seq
	places    map[journal.Place]string // acknowledged by a committer
	committed bool
}

// keyFacts: a key has one writer, which goes through numbered states; every fifth is a
// deletion, as is state 0.
type keyFacts struct {
	known, tried int
	revs         map[journal.Rev]int
}

func absent(state int) bool { return state%5 == 0 }

func newLedger() *ledger {
	l := &ledger{logs: map[string]*logFacts{}, keys: map[string]*keyFacts{}}
	l.more = sync.NewCond(&l.mu)
	return l
}

func (l *ledger) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *ledger) ack(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.acks++
	l.more.Broadcast()
}

// awaitAcks waits for n more acknowledgements.
func (l *ledger) awaitAcks(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for want := l.acks + n; l.acks < want; {
		l.more.Wait()
	}
}

// copied gives what is known now.
func (l *ledger) copied() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	for n, f := range l.logs {
		g := *f
		g.places = map[journal.Place]string{}
		for p, it := range f.places {
			g.places[p] = it
		}
		c.logs[n] = &g
	}
	for n, f := range l.keys {
		g := *f
		g.revs = map[journal.Rev]int{}
		for r, s := range f.revs {
			g.revs[r] = s
		}
		c.keys[n] = &g
	}
	return c
}

// sealed gives an item that tells whether it is whole.
func sealed(head string, rng *rand.Rand) []byte {
	b := append([]byte(head), 0)
	for range rng.IntN(400) {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func whole(b []byte) (head string, ok bool) {
	if len(b) < 5 {
		return "", false
	}
	body := b[:len(b)-4]
	for i, c := range body {
		if c == 0 {
			return string(body[:i]), crc32.ChecksumIEEE(body) == binary.LittleEndian.Uint32(b[len(b)-4:])
		}
	}
	return "", false
}

// laggard makes syncs take a while, so that cuts fall into them.
func laggard(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			for range rand.IntN(40) {
				runtime.Gosched()
			}
		}
		return nil
	}))
}

func crashOptions(t testing.TB, fs vfs.FS, rng *rand.Rand) Options {
	memtable := uint64(32<<10) << rng.IntN(6)
	return Options{
		FS: fs, Dir: "/data/stoa/journal", Fatal: failTest(t), Log: quiet(), Reserve: -1, Ballast: -1, CutStep: 1 << (10 + rng.IntN(8)),
		tune: func(p *pebble.Options) { p.MemTableSize = memtable; p.FlushDelayDeleteRange = time.Millisecond },
	}
}

func crashWorkload(t *testing.T, seed uint64, control bool) (sum tally) {
	rng := rand.New(rand.NewPCG(seed, 1))
	mem := vfs.NewCrashableMem()
	o := crashOptions(t, laggard(mem), rng)
	o.ackEarly = control
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	l := newLedger()
	var wg sync.WaitGroup
	startWorkers(t, ctx, s, l, &wg, seed)
	for range cutsEach {
		l.awaitAcks(1 + rng.IntN(30))
		before := l.copied()
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 50, 90}[rng.IntN(4)], RNG: rng})
		after := l.copied()
		sum.add(checkClone(t, clone, before, after, seed, rng))
	}
	stop()
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("seed %d: close: %v", seed, err)
	}
	return sum
}

func startWorkers(t *testing.T, ctx context.Context, s *Store, l *ledger, wg *sync.WaitGroup, seed uint64) {
	// The maps do not change once anybody reads them.
	for i := range 2 {
		l.logs[fmt.Sprintf("raw%d", i)] = &logFacts{cutKnown: 1, cutTried: 1}
	}
	l.logs["gathered"] = &logFacts{cutKnown: 1, cutTried: 1, places: map[journal.Place]string{}, committed: true}
	for i := range 3 {
		l.keys[fmt.Sprintf("key%d", i)] = &keyFacts{revs: map[journal.Rev]int{}}
	}
	for i := range 2 {
		name := fmt.Sprintf("raw%d", i)
		wg.Go(func() { rawOwner(t, ctx, s, l, name, rand.New(rand.NewPCG(seed, 10+uint64(i)))) })
		wg.Go(func() { logReader(t, ctx, s, l, name) })
	}
	lg, err := s.Log(ctx, "gathered")
	if err != nil {
		t.Fatal(err)
	}
	c := journal.NewCommitter(lg, 0, journal.CommitterOptions{})
	wg.Go(func() { _ = c.Run(ctx) })
	for i := range 4 {
		wg.Go(func() { waiter(t, ctx, c, l, i, rand.New(rand.NewPCG(seed, 20+uint64(i)))) })
	}
	for i := range 3 {
		key := fmt.Sprintf("key%d", i)
		wg.Go(func() { keyOwner(t, ctx, s, l, key, rand.New(rand.NewPCG(seed, 30+uint64(i)))) })
		wg.Go(func() { keyReader(t, ctx, s, l, key) })
	}
}

// over says whether err is the end of the workload; any other error fails the test.
func over(t *testing.T, ctx context.Context, what string, err error) bool {
	if err == nil {
		return false
	}
	if ctx.Err() == nil {
		t.Errorf("%s: %v", what, err)
	}
	return true
}

func rawOwner(t *testing.T, ctx context.Context, s *Store, l *ledger, name string, rng *rand.Rand) {
	lg, err := s.Log(ctx, name)
	if over(t, ctx, "log", err) {
		return
	}
	f := l.logs[name]
	for seq := journal.Seq(1); ; seq++ {
		items := make([][]byte, 1+rng.IntN(3))
		for i := range items {
			items[i] = sealed(fmt.Sprintf("%s/%d/%d/%d", name, seq, i, len(items)), rng)
		}
		l.set(func() { f.tried = seq })
		if _, err := lg.Append(ctx, seq-1, items...); over(t, ctx, "append", err) {
			return
		}
		l.ack(func() { f.known = max(f.known, seq) })
		if rng.IntN(15) == 0 {
			before := seq - min(seq, journal.Seq(rng.IntN(8))) + 1
			l.set(func() { f.cutTried = max(f.cutTried, before) })
			if over(t, ctx, "cut", lg.Cut(ctx, before)) {
				return
			}
			l.ack(func() { f.cutKnown = max(f.cutKnown, before) })
		}
	}
}

// logReader holds the store to what it showed: that must survive too.
func logReader(t *testing.T, ctx context.Context, s *Store, l *ledger, name string) {
	lg, err := s.Log(ctx, name)
	if over(t, ctx, "log", err) {
		return
	}
	for at := journal.Seq(0); ; {
		if over(t, ctx, "wait", lg.Wait(ctx, at)) {
			return
		}
		for e, err := range lg.Read(ctx, at) {
			if errors.Is(err, journal.ErrCut) {
				first, _, err := lg.Bounds(ctx)
				if over(t, ctx, "bounds", err) {
					return
				}
				at = max(at, first-1)
				break
			}
			if over(t, ctx, "read", err) {
				return
			}
			at = e.Seq
			l.set(func() { l.logs[name].known = max(l.logs[name].known, at) })
		}
	}
}

func waiter(t *testing.T, ctx context.Context, c *journal.Committer, l *ledger, me int, rng *rand.Rand) {
	f := l.logs["gathered"]
	for n := 0; ; n++ {
		head := fmt.Sprintf("waiter%d/%d", me, n)
		p, err := c.Append(ctx, sealed(head, rng))
		if over(t, ctx, "committer", err) {
			return
		}
		l.ack(func() { f.places[p] = head; f.known, f.tried = max(f.known, p.Seq), max(f.tried, p.Seq) })
	}
}

func keyOwner(t *testing.T, ctx context.Context, s *Store, l *ledger, key string, rng *rand.Rand) {
	tb, err := s.Table(ctx, "states")
	if over(t, ctx, "table", err) {
		return
	}
	f, rev := l.keys[key], journal.Rev(0)
	for state := 1; ; state++ {
		l.set(func() { f.tried = state })
		if absent(state) {
			err, rev = tb.Delete(ctx, key, rev), 0
		} else {
			rev, err = tb.Put(ctx, key, sealed(fmt.Sprintf("%s/%d", key, state), rng), rev)
		}
		if over(t, ctx, "put", err) {
			return
		}
		l.ack(func() {
			if f.known = max(f.known, state); rev != 0 {
				f.revs[rev] = state
			}
		})
	}
}

func keyReader(t *testing.T, ctx context.Context, s *Store, l *ledger, key string) {
	tb, err := s.Table(ctx, "states")
	if over(t, ctx, "table", err) {
		return
	}
	for c, err := range tb.Watch(ctx, key) {
		if over(t, ctx, "watch", err) {
			return
		}
		if c.Kind == journal.Put {
			state, ok := stateOf(key, c.Value)
			if !ok {
				t.Errorf("watch of %s gave a torn value", key)
				return
			}
			l.set(func() { l.keys[key].known = max(l.keys[key].known, state) })
		}
	}
}

func stateOf(key string, v []byte) (int, bool) {
	head, ok := whole(v)
	var state int
	_, err := fmt.Sscanf(head, key+"/%d", &state)
	return state, ok && err == nil
}
