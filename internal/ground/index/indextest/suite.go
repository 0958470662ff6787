// Package indextest is the contract of an index as a suite.
package indextest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"stoa/internal/ground/index"
	"stoa/internal/ground/journal"
)

// Run runs the suite on empty indexes from open. Reopen closes and opens again what
// an index is kept in, in good order, and gives the same index; nil if it cannot.
func Run(t *testing.T, open func(t testing.TB) index.Index, reopen func(t testing.TB, x index.Index) index.Index) {
	ctx := context.Background()
	t.Run("what was applied can be read", func(t *testing.T) {
		x := open(t)
		apply(t, x, "a", 3, "k1=one", "k2=two", "k3=")
		wantAll(t, x, "k1=one", "k2=two", "k3=")
		apply(t, x, "a", 4, "k1=uno", "-k2", "k0=zero")
		wantAll(t, x, "k0=zero", "k1=uno", "k3=")
		v, ok, err := x.Get(ctx, []byte("k1"))
		if err != nil || !ok || string(v) != "uno" {
			t.Fatalf("get k1: %q, %v, %v", v, ok, err)
		}
		if _, ok, err := x.Get(ctx, []byte("k2")); ok || err != nil {
			t.Fatalf("get of a removed key: %v, %v", ok, err)
		}
		apply(t, x, "a", 5, "k9=1", "-k9", "k8=1", "k8=2") // the later counts
		wantAll(t, x, "k0=zero", "k1=uno", "k3=", "k8=2")
	})
	t.Run("a batch moves its position, once and forward", func(t *testing.T) {
		x := open(t)
		wantPosition(t, x, "a", 0)
		apply(t, x, "a", 7)
		apply(t, x, "b.c", 2, "k=v")
		wantPosition(t, x, "a", 7)
		wantPosition(t, x, "b.c", 2)
		for _, at := range []journal.Seq{0, 6, 7} {
			err := x.Apply(ctx, index.Batch{From: "a", At: at, Writes: []index.Write{{Key: []byte("k"), Value: []byte("no")}}})
			if !errors.Is(err, index.ErrBehind) {
				t.Fatalf("apply at %d, position 7: got %v, want ErrBehind", at, err)
			}
		}
		wantAll(t, x, "k=v")
		wantPosition(t, x, "a", 7)
	})
	t.Run("bad batches leave no trace", func(t *testing.T) {
		x := open(t)
		for _, c := range []struct {
			b    index.Batch
			want error
		}{
			{index.Batch{From: "", At: 1}, journal.ErrKey},
			{index.Batch{From: "a", At: 1, Writes: []index.Write{{Key: []byte("k")}, {}}}, journal.ErrKey},
			{index.Batch{From: "a", At: 1, Writes: []index.Write{{Key: []byte("k")}, {Key: make([]byte, index.MaxKey+1)}}}, journal.ErrKey},
			{index.Batch{From: "a", At: 1, Writes: []index.Write{{Key: []byte("k")}, {Key: []byte("l"), Value: make([]byte, index.MaxBatch)}}}, journal.ErrTooBig},
		} {
			if err := x.Apply(ctx, c.b); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		}
		wantAll(t, x)
		wantPosition(t, x, "a", 0)
	})
	t.Run("a scan keeps to its bounds and the order of bytes", func(t *testing.T) {
		x := open(t)
		var b index.Batch
		b.From, b.At = "a", 1
		for i := range 1500 {
			b.Writes = append(b.Writes, index.Write{Key: []byte{byte(i >> 8), byte(i)}, Value: []byte{1}})
		}
		b.Writes = append(b.Writes, index.Write{Key: []byte{0xff, 0xff}, Value: []byte{2}})
		if err := x.Apply(ctx, b); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			from, to []byte
			want     int
		}{{nil, nil, 1501}, {[]byte{1, 0}, []byte{2, 0}, 256}, {[]byte{4}, nil, 477}, {[]byte{2}, []byte{1}, 0}, {[]byte{0xff, 0xff}, nil, 1}} {
			var last []byte
			n := 0
			for kv, err := range x.Scan(ctx, c.from, c.to) {
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Compare(kv.Key, last) <= 0 || bytes.Compare(kv.Key, c.from) < 0 || c.to != nil && bytes.Compare(kv.Key, c.to) >= 0 {
					t.Fatalf("scan %x to %x gave %x after %x", c.from, c.to, kv.Key, last)
				}
				last = kv.Key
				n++
			}
			if n != c.want {
				t.Errorf("scan %x to %x gave %d keys, want %d", c.from, c.to, n, c.want)
			}
		}
	})
	t.Run("a reader sees whole batches", func(t *testing.T) {
		x := open(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			for at := journal.Seq(1); at <= 300; at++ {
				v := fmt.Sprint(at)
				apply(t, x, "a", at, "k1="+v, "k2="+v, "k3="+v)
			}
		})
		for range 3 {
			wg.Go(func() {
				for seen := ""; seen != "300"; {
					var got []string
					for kv, err := range x.Scan(ctx, []byte("k"), []byte("l")) {
						if err != nil {
							t.Error(err)
							return
						}
						got = append(got, string(kv.Value))
					}
					if len(got) != 0 && (len(got) != 3 || got[0] != got[1] || got[1] != got[2]) {
						t.Errorf("a scan saw %q", got)
						return
					}
					if len(got) > 0 {
						seen = got[0]
					}
				}
			})
		}
		wg.Wait()
	})
	t.Run("reset empties it", func(t *testing.T) {
		x := open(t)
		apply(t, x, "a", 9, "k=v")
		if err := x.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		wantAll(t, x)
		wantPosition(t, x, "a", 0)
		apply(t, x, "a", 1, "k=w")
		wantAll(t, x, "k=w")
		wantPosition(t, x, "a", 1)
	})
	t.Run("it is there again after an orderly close", func(t *testing.T) {
		if reopen == nil {
			return
		}
		x := open(t)
		apply(t, x, "a", 9, "k=v", "l=w")
		x = reopen(t, x)
		wantAll(t, x, "k=v", "l=w")
		wantPosition(t, x, "a", 9)
	})
	t.Run("an ended context stops every call", func(t *testing.T) {
		x := open(t)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, _, gerr := x.Get(ended, []byte("k"))
		_, perr := x.Position(ended, "a")
		for what, err := range map[string]error{
			"apply": x.Apply(ended, index.Batch{From: "a", At: 1}), "reset": x.Reset(ended), "get": gerr, "position": perr,
		} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want %v", what, err, context.Canceled)
			}
		}
		for _, err := range x.Scan(ended, nil, nil) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("scan: got %v, want %v", err, context.Canceled)
			}
		}
	})
}

// apply applies writes given as key=value, or -key.
func apply(t testing.TB, x index.Index, from string, at journal.Seq, writes ...string) {
	t.Helper()
	b := index.Batch{From: from, At: at}
	for _, w := range writes {
		if w[0] == '-' {
			b.Writes = append(b.Writes, index.Write{Key: []byte(w[1:]), Remove: true})
			continue
		}
		k, v, _ := bytes.Cut([]byte(w), []byte("="))
		b.Writes = append(b.Writes, index.Write{Key: k, Value: v})
	}
	if err := x.Apply(context.Background(), b); err != nil {
		t.Errorf("apply %s at %d: %v", from, at, err)
	}
}

func wantAll(t testing.TB, x index.Index, want ...string) {
	t.Helper()
	var got []string
	for kv, err := range x.Scan(context.Background(), nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(kv.Key)+"="+string(kv.Value))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("the index holds %q, want %q", got, want)
	}
}

func wantPosition(t testing.TB, x index.Index, log string, want journal.Seq) {
	t.Helper()
	got, err := x.Position(context.Background(), log)
	if err != nil || got != want {
		t.Fatalf("position of %s: %d (%v), want %d", log, got, err, want)
	}
}
