package pebblestore

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"stoa/internal/ground/index"
	"stoa/internal/ground/journal"
)

// Items of 1 KB that do not compress to nothing, on the disk of TMPDIR, synced. The
// figures to compare are appends/s and CPU-s per 100,000 appends, over all threads.

func benchItem(n int) []byte {
	b := make([]byte, 1024)
	for i, x := 0, uint32(n)*2654435761+1; i < len(b); i++ {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// cpuTime is what this process has used, in user and kernel, on all threads.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkAppend(b *testing.B) {
	for _, logs := range []int{1, 16} {
		for _, waiters := range []int{1, 16, 64, 256} {
			if waiters < logs {
				continue
			}
			b.Run(fmt.Sprintf("logs=%d/waiters=%d", logs, waiters), func(b *testing.B) { benchAppend(b, logs, waiters) })
		}
	}
}

// benchAppend keeps all waiters busy for as long as the loop runs, each through the
// committer of its log.
func benchAppend(b *testing.B, logs, waiters int) {
	s := openAt(b, filepath.Join(b.TempDir(), "journal"))
	defer s.Close()
	ctx, stop := context.WithCancel(context.Background())
	var run, wg sync.WaitGroup
	cs := make([]*journal.Committer, logs)
	for i := range cs {
		cs[i] = journal.NewCommitter(mustLog(b, s, fmt.Sprintf("log%d", i)), 0, journal.CommitterOptions{})
		run.Go(func() { _ = cs[i].Run(ctx) })
	}
	done, end := make(chan struct{}, 4*waiters), make(chan struct{})
	for w := range waiters {
		item := benchItem(w)
		wg.Go(func() {
			for {
				if _, err := cs[w%logs].Append(context.Background(), item); err != nil {
					b.Error(err)
					return
				}
				select {
				case done <- struct{}{}:
				case <-end:
					return
				}
			}
		})
	}
	began, cpu, n := time.Now(), cpuTime(), 0
	for b.Loop() {
		<-done
		n++
	}
	took, used := time.Since(began), cpuTime()-cpu
	close(end)
	wg.Wait()
	stop()
	run.Wait()
	b.SetBytes(1024)
	b.ReportMetric(float64(n)/took.Seconds(), "appends/s")
	b.ReportMetric(used.Seconds()/float64(n)*1e5, "CPU-s/100k")
}

func BenchmarkReadFromFront(b *testing.B) {
	for _, per := range []int{1, 64} {
		b.Run(fmt.Sprintf("items=%d", per), func(b *testing.B) {
			s := openAt(b, filepath.Join(b.TempDir(), "journal"))
			defer s.Close()
			l := mustLog(b, s, "a")
			items := make([][]byte, per)
			for i := range items {
				items[i] = benchItem(i)
			}
			const total = 20_000
			fillMany(b, l, total/per, items)
			began, cpu, n := time.Now(), cpuTime(), 0
			for b.Loop() {
				for e, err := range l.Read(context.Background(), 0) {
					if err != nil {
						b.Fatal(err)
					}
					n += len(e.Items)
				}
			}
			b.ReportMetric(float64(n)/time.Since(began).Seconds(), "items/s")
			b.ReportMetric((cpuTime()-cpu).Seconds()/float64(n)*1e5, "CPU-s/100k")
		})
	}
}

// fillMany appends n entries of items, quickly: each append is one sync.
func fillMany(b testing.TB, l journal.Log, n int, items [][]byte) {
	for seq := range journal.Seq(n) {
		if _, err := l.Append(context.Background(), seq, items...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	s := openAt(b, filepath.Join(b.TempDir(), "journal"))
	defer s.Close()
	t, err := s.Table(context.Background(), "t")
	if err != nil {
		b.Fatal(err)
	}
	rev := journal.Rev(0)
	for b.Loop() {
		if rev, err = t.Put(context.Background(), "cursor", []byte("12345678"), rev); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIndexApply(b *testing.B) {
	s, err := OpenIndexes(context.Background(), Options{Dir: filepath.Join(b.TempDir(), "index"), Log: quiet(), Ballast: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	x, err := s.Index(context.Background(), "x")
	if err != nil {
		b.Fatal(err)
	}
	at := journal.Seq(0)
	for b.Loop() {
		at++
		if err := x.Apply(context.Background(), index.Batch{From: "log", At: at, Writes: []index.Write{{Key: fmt.Appendf(nil, "%016d", at*7919), Value: []byte("x")}}}); err != nil {
			b.Fatal(err)
		}
	}
}

// With STOA_LONG=1: a million entries, then how long an open takes.
func BenchmarkOpenAfterAMillion(b *testing.B) {
	if !long() {
		return
	}
	o := Options{Dir: filepath.Join(b.TempDir(), "journal"), Log: quiet(), Fatal: failTest(b), Ballast: -1}
	s, err := Open(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := journal.NewCommitter(mustLog(b, s, "a"), 0, journal.CommitterOptions{})
	var run, wg sync.WaitGroup
	run.Go(func() { _ = c.Run(ctx) })
	item := benchItem(1)[:100]
	for range 256 {
		wg.Go(func() {
			for range 1_000_000 / 256 {
				if _, err := c.Append(context.Background(), item); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	stop()
	run.Wait()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if s, err = Open(context.Background(), o); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
