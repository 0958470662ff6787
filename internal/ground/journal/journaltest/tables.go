package journaltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"stoa/internal/ground/journal"
)

func (b *bench) put(t journal.Table, key, v string, at journal.Rev) journal.Rev {
	b.Helper()
	rev, err := t.Put(b.ctx, key, []byte(v), at)
	b.ok(fmt.Sprintf("put %s at %d", key, at), err)
	if rev <= at {
		b.Fatalf("put %s at %d gave revision %d", key, at, rev)
	}
	return rev
}

func (b *bench) wantValue(t journal.Table, key, want string, at journal.Rev) {
	b.Helper()
	b.eventually("get "+key, func() error {
		v, rev, err := t.Get(b.ctx, key)
		if err != nil || string(v) != want || rev != at {
			return fmt.Errorf("got %q at %d (%v), want %q at %d", v, rev, err, want, at)
		}
		return nil
	})
}

func swap(b *bench) {
	t := b.table("leases")
	b.wantValue(t, "k", "", 0)
	_, err := t.Put(b.ctx, "k", []byte("no"), 7)
	b.wantErr("put at 7 of an absent key", err, journal.ErrStale)
	b.wantErr("delete at 7 of an absent key", t.Delete(b.ctx, "k", 7), journal.ErrStale)
	b.wantErr("delete at 0 of an absent key", t.Delete(b.ctx, "k", 0), journal.ErrStale)
	r1 := b.put(t, "k", "one", 0)
	b.wantValue(t, "k", "one", r1)
	_, err = t.Put(b.ctx, "k", []byte("no"), 0)
	b.wantErr("put at 0 of a present key", err, journal.ErrStale)
	r2 := b.put(t, "k", "two", r1)
	for _, at := range []journal.Rev{0, r1, r2 + 1} {
		_, err = t.Put(b.ctx, "k", []byte("no"), at)
		b.wantErr(fmt.Sprintf("put at %d of a key at %d", at, r2), err, journal.ErrStale)
		b.wantErr(fmt.Sprintf("delete at %d of a key at %d", at, r2), t.Delete(b.ctx, "k", at), journal.ErrStale)
	}
	b.wantValue(t, "k", "two", r2)
	other := b.put(t, "k2", "", 0)
	b.wantValue(t, "k2", "", other)
	b.wantValue(b.table("cursors"), "k", "", 0)
	mine := []byte("mine")
	r3, err := t.Put(b.ctx, "k", mine, r2)
	b.ok("put", err)
	copy(mine, "####")
	b.wantValue(t, "k", "mine", r3)
}

func deleted(b *bench) {
	t := b.table("t")
	r1 := b.put(t, "k", "one", 0)
	b.ok("delete", t.Delete(b.ctx, "k", r1))
	b.wantValue(t, "k", "", 0)
	if b.Reopen != nil {
		b.store = b.Reopen(b, b.store)
		t = b.table("t")
		b.wantValue(t, "k", "", 0)
	}
	r2 := b.put(t, "k", "two", 0)
	if r2 <= r1 {
		b.Fatalf("revision %d was used again: got %d", r1, r2)
	}
	_, err := t.Put(b.ctx, "k", []byte("no"), r1)
	b.wantErr("put at the revision before the delete", err, journal.ErrStale)
	b.wantValue(t, "k", "two", r2)
}

// Each writer adds one by compare and swap: none may be lost or counted twice.
func linear(b *bench) {
	t := b.table("t")
	const writers, adds, keys = 9, 12, 3
	var wg sync.WaitGroup
	var mu sync.Mutex
	counted, unsure := map[string]int{}, map[string]int{}
	for w := range writers {
		key := fmt.Sprintf("k%d", w%keys)
		wg.Go(func() {
			for n := 0; n < adds; {
				v, rev, err := t.Get(b.ctx, key)
				if err != nil {
					b.Errorf("get: %v", err)
					return
				}
				was, _ := strconv.Atoi(string(v))
				_, err = t.Put(b.ctx, key, strconv.AppendInt(nil, int64(was+1), 10), rev)
				mu.Lock()
				switch {
				case err == nil:
					counted[key]++
					n++
				case errors.Is(err, journal.ErrUnknown) && !b.Certain:
					unsure[key]++
					n++
				case !errors.Is(err, journal.ErrStale):
					b.Errorf("put: %v", err)
					n = adds
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for key, want := range counted {
		b.eventually("the sum of "+key, func() error {
			v, _, err := t.Get(b.ctx, key)
			got, _ := strconv.Atoi(string(v))
			if err != nil || got < want || got > want+unsure[key] {
				return fmt.Errorf("got %d (%v), want %d, and up to %d more", got, err, want, unsure[key])
			}
			return nil
		})
	}
}

func scans(b *bench) {
	t := b.table("t")
	want := map[string]string{}
	for i := range 700 { // more than a store is likely to read at once
		k := fmt.Sprintf("a/%03d", i)
		want[k] = "v" + k
	}
	var wg sync.WaitGroup
	for part := range 7 {
		wg.Go(func() {
			for i := part * 100; i < part*100+100; i++ {
				k := fmt.Sprintf("a/%03d", i)
				if _, err := t.Put(b.ctx, k, []byte("v"+k), 0); err != nil {
					b.Errorf("put: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for _, k := range []string{"a", "a.x", "b", "A"} {
		b.put(t, k, "other", 0)
	}
	b.eventually("scan a/", func() error { return b.scanIs(t, "a/", want) })
	b.eventually("scan a/05", func() error {
		few := maps.Clone(want)
		maps.DeleteFunc(few, func(k, _ string) bool { return k < "a/05" || k > "a/06" })
		return b.scanIs(t, "a/05", few)
	})
	want["a"], want["a.x"], want["b"], want["A"] = "other", "other", "other", "other"
	b.eventually("scan all", func() error { return b.scanIs(t, "", want) })
	b.eventually("scan nothing", func() error { return b.scanIs(t, "zz", nil) })
	for _, err := range t.Scan(b.ctx, "no such*") {
		b.wantErr("scan of a prefix that no key has", err, journal.ErrKey)
	}
}

func (b *bench) scanIs(t journal.Table, prefix string, want map[string]string) error {
	var order []string
	for kv, err := range t.Scan(b.ctx, prefix) {
		if err != nil {
			return err
		}
		if v, ok := want[kv.Key]; !ok || v != string(kv.Value) || kv.Rev == 0 {
			return fmt.Errorf("got %s = %q at %d, want %q", kv.Key, kv.Value, kv.Rev, v)
		}
		order = append(order, kv.Key)
	}
	if !slices.IsSorted(order) || len(order) != len(want) {
		return fmt.Errorf("got %d keys, sorted: %v; want %d", len(order), slices.IsSorted(order), len(want))
	}
	return nil
}

// mirror follows a watch and keeps what it tells.
type mirror struct {
	mu     sync.Mutex
	state  map[string]journal.KV // guarded by mu
	synced bool                  // guarded by mu
	err    error                 // that it ended with; guarded by mu
}

func follow(ctx context.Context, t journal.Table, prefix string) (m *mirror, ended chan struct{}) {
	m, ended = &mirror{state: map[string]journal.KV{}}, make(chan struct{})
	go func() {
		defer close(ended)
		for c, err := range t.Watch(ctx, prefix) {
			m.mu.Lock()
			switch {
			case err != nil:
				m.err = err
			case c.Kind == journal.Put:
				m.state[c.Key] = c.KV
			case c.Kind == journal.Deleted:
				delete(m.state, c.Key)
			case c.Kind == journal.Synced:
				m.synced = true
			case c.Kind == journal.Reset:
				m.state, m.synced = map[string]journal.KV{}, false
			}
			m.mu.Unlock()
		}
	}()
	return m, ended
}

func (b *bench) wantMirror(m *mirror, want map[string]string) {
	b.Helper()
	fresh := b.Fresh
	b.Fresh = false // a watch is behind, everywhere
	defer func() { b.Fresh = fresh }()
	b.eventually("the watch", func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.err != nil || !m.synced || len(m.state) != len(want) {
			return fmt.Errorf("synced %v, %d keys, want %d (%v)", m.synced, len(m.state), len(want), m.err)
		}
		for k, v := range want {
			if string(m.state[k].Value) != v {
				return fmt.Errorf("%s is %q, want %q", k, m.state[k].Value, v)
			}
		}
		return nil
	})
}

func watches(b *bench) {
	t := b.table("t")
	b.put(t, "x/1", "before", 0)
	r := b.put(t, "x/2", "before", 0)
	b.put(t, "y", "elsewhere", 0)
	ctx, cancel := context.WithCancel(b.ctx)
	m, ended := follow(ctx, t, "x/")
	b.wantMirror(m, map[string]string{"x/1": "before", "x/2": "before"})
	b.put(t, "x/3", "new", 0)
	b.put(t, "y2", "elsewhere", 0)
	b.wantMirror(m, map[string]string{"x/1": "before", "x/2": "before", "x/3": "new"})
	b.ok("delete", t.Delete(b.ctx, "x/2", r))
	b.wantMirror(m, map[string]string{"x/1": "before", "x/3": "new"})
	b.put(t, "x/2", "again", 0)
	b.wantMirror(m, map[string]string{"x/1": "before", "x/2": "again", "x/3": "new"})
	cancel()
	<-ended
	if !errors.Is(m.err, context.Canceled) {
		b.Fatalf("a watch whose context ended: got %v", m.err)
	}
}

func watchMany(b *bench) {
	t := b.table("t")
	const writers, puts = 6, 40
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rev, key := journal.Rev(0), fmt.Sprintf("k%d", w)
			for i := range puts {
				var err error
				if i%7 == 6 {
					err, rev = t.Delete(b.ctx, key, rev), 0
				} else {
					rev, err = t.Put(b.ctx, key, strconv.AppendInt(nil, int64(i), 10), rev)
				}
				if err != nil && !(errors.Is(err, journal.ErrUnknown) && !b.Certain) {
					b.Errorf("write %d of %s: %v", i, key, err)
					return
				}
			}
		})
	}
	first, ended1 := follow(ctx, t, "")
	wg.Wait()
	late, ended2 := follow(ctx, t, "")
	want := map[string]string{}
	for w := range writers {
		want[fmt.Sprintf("k%d", w)] = strconv.Itoa(puts - 1)
	}
	if b.Certain {
		b.wantMirror(first, want)
		b.wantMirror(late, want)
	}
	cancel()
	<-ended1
	<-ended2
}
