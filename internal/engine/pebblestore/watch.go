package pebblestore

import (
	"context"
	"iter"
	"strings"

	"stoa/internal/ground/journal"
)

// watcher remembers which keys have changed since its reader last looked, not what
// they became: a slow reader costs a key and skips values.
type watcher struct {
	prefix string
	wake   chan struct{} // of one

	// Guarded by the table's mu.
	dirty map[string]journal.Rev // key to the revision that changed it last
	over  bool                   // more keys than a table is meant for: begin again
}

// note is called with the table's mu held.
func (w *watcher) note(key string, rev journal.Rev) {
	if !strings.HasPrefix(key, w.prefix) || w.over {
		return
	}
	if w.dirty[key] = rev; len(w.dirty) > journal.TableKeys {
		w.dirty, w.over = map[string]journal.Rev{}, true
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (t *table) Watch(ctx context.Context, prefix string) iter.Seq2[journal.Change, error] {
	return func(yield func(journal.Change, error) bool) {
		if err := journal.CheckPrefix(prefix); err != nil {
			yield(journal.Change{}, err)
			return
		}
		w := &watcher{prefix: prefix, wake: make(chan struct{}, 1), dirty: map[string]journal.Rev{}}
		t.mu.Lock()
		t.watchers[w] = true // before the scan, so that nothing is missed between
		t.mu.Unlock()
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.watchers, w)
		}()
		if t.showAll(ctx, w, yield) {
			t.follow(ctx, w, yield)
		}
	}
}

// showAll yields the whole state and Synced. False: the reader or the store has ended.
func (t *table) showAll(ctx context.Context, w *watcher, yield func(journal.Change, error) bool) bool {
	for kv, err := range t.Scan(ctx, w.prefix) {
		if err != nil {
			yield(journal.Change{}, err)
			return false
		}
		if !yield(journal.Change{Kind: journal.Put, KV: kv}, nil) {
			return false
		}
	}
	return yield(journal.Change{Kind: journal.Synced}, nil)
}

func (t *table) follow(ctx context.Context, w *watcher, yield func(journal.Change, error) bool) {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
		case <-t.s.closing:
		case <-t.s.dead:
		}
		if err := errorOf(ctx, t.s); err != nil {
			yield(journal.Change{}, err)
			return
		}
		t.mu.Lock()
		dirty, over := w.dirty, w.over
		w.dirty, w.over = map[string]journal.Rev{}, false
		t.mu.Unlock()
		if over && !(yield(journal.Change{Kind: journal.Reset}, nil) && t.showAll(ctx, w, yield)) {
			return
		}
		for key, rev := range dirty {
			c, err := t.changed(ctx, key, rev)
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// changed gives what key is now. It may be younger than rev, and is then noted again.
func (t *table) changed(ctx context.Context, key string, rev journal.Rev) (journal.Change, error) {
	v, at, err := t.Get(ctx, key)
	switch {
	case err != nil:
		return journal.Change{}, err
	case at == 0:
		return journal.Change{Kind: journal.Deleted, KV: journal.KV{Key: key, Rev: rev}}, nil
	}
	return journal.Change{Kind: journal.Put, KV: journal.KV{Key: key, Value: v, Rev: at}}, nil
}
