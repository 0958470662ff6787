package pebblestore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"stoa/internal/ground/journal"
)

// checkClone opens what a power cut left and compares it with what was known before
// the cut and tried until after it.
func checkClone(t *testing.T, disk *vfs.MemFS, before, after *ledger, seed uint64, rng *rand.Rand) (sum tally) {
	sum.cuts = 1
	o := crashOptions(t, disk, rng)
	s, err := Open(t.Context(), o)
	if err != nil {
		sum.bad("seed %d: a store does not open after a power cut: %v", seed, err)
		return sum
	}
	ends := map[string]journal.Seq{}
	for name, f := range before.logs {
		ends[name] = checkLog(t, s, name, f, after.logs[name], seed, &sum)
	}
	for key, f := range before.keys {
		checkKey(t, s, key, f, after.keys[key], seed, &sum)
	}
	// What a recovered store shows must survive the next cut, even if nothing is written.
	again := disk.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		sum.bad("seed %d: close: %v", seed, err)
	}
	o.FS = again
	if s, err = Open(t.Context(), o); err != nil {
		sum.bad("seed %d: a store does not open after a second power cut: %v", seed, err)
		return sum
	}
	for name, end := range ends {
		lg, err := s.Log(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		_, last, err := lg.Bounds(t.Context())
		if err != nil || last != end {
			sum.bad("seed %d: log %s ended at %d after a power cut and at %d after the next (%v)", seed, name, end, last, err)
		}
		if seq, err := lg.Append(t.Context(), last, []byte("goes on")); err != nil || seq != last+1 {
			sum.bad("seed %d: log %s does not go on after %d: %v", seed, name, last, err)
		}
	}
	if err := s.Close(); err != nil {
		sum.bad("seed %d: close: %v", seed, err)
	}
	return sum
}

func checkLog(t *testing.T, s *Store, name string, before, after *logFacts, seed uint64, sum *tally) (end journal.Seq) {
	lg, err := s.Log(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	first, last, err := lg.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sum.entries += int(before.known)
	if last < before.known {
		sum.lostEntries += int(before.known - last)
		sum.bad("seed %d: log %s ends at %d, known were %d", seed, name, last, before.known)
	}
	if !before.committed && last > after.tried {
		sum.bad("seed %d: log %s ends at %d, tried were %d", seed, name, last, after.tried)
	}
	if first < min(before.cutKnown, last+1) || first > after.cutTried {
		sum.bad("seed %d: log %s begins at %d, cut were %d to %d", seed, name, first, before.cutKnown, after.cutTried)
	}
	at := first - 1
	found := map[journal.Place]string{}
	for e, err := range lg.Read(t.Context(), at) {
		if err != nil || e.Seq != at+1 {
			sum.bad("seed %d: log %s: entry %d after %d (%v)", seed, name, e.Seq, at, err)
			return last
		}
		at = e.Seq
		items := e.Items
		if before.committed {
			items = journal.Body(e)
		}
		for i, it := range items {
			head, ok := whole(it)
			if want := fmt.Sprintf("%s/%d/%d/%d", name, at, i, len(e.Items)); !ok || !before.committed && head != want {
				sum.bad("seed %d: log %s, entry %d, item %d is torn: %q", seed, name, at, i, head)
			}
			found[journal.Place{Seq: at, Item: i}] = head
		}
	}
	if at != last {
		sum.bad("seed %d: log %s: read to %d of %d", seed, name, at, last)
	}
	for p, head := range before.places {
		if got, ok := found[p]; ok && got != head {
			sum.bad("seed %d: log %s, %+v is %s, want %s", seed, name, p, got, head)
		} else if !ok && p.Seq <= last {
			sum.bad("seed %d: log %s, %+v is missing", seed, name, p)
		}
	}
	return last
}

func checkKey(t *testing.T, s *Store, key string, before, after *keyFacts, seed uint64, sum *tally) {
	tb, err := s.Table(t.Context(), "states")
	if err != nil {
		t.Fatal(err)
	}
	v, rev, err := tb.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum.states++
	if rev == 0 {
		for state := before.known; state <= after.tried; state++ {
			if absent(state) {
				return
			}
		}
		sum.lostStates++
		sum.bad("seed %d: key %s is absent, known was state %d", seed, key, before.known)
		return
	}
	state, ok := stateOf(key, v)
	if !ok || absent(state) || state > after.tried {
		sum.bad("seed %d: key %s is torn or never was: state %d of %d", seed, key, state, after.tried)
	}
	if state < before.known {
		sum.lostStates++
		sum.bad("seed %d: key %s is at state %d, known was %d", seed, key, state, before.known)
	}
	if want, ok := after.revs[rev]; ok && want != state {
		sum.bad("seed %d: key %s has state %d at revision %d, which was acknowledged for %d", seed, key, state, rev, want)
	}
}
