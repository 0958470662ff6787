package pebblestore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"stoa/internal/ground/journal"
)

// The error suite runs each fault in a process of its own: this test binary again,
// with the fault in its environment. The child works, tells every acknowledgement on
// its stdout, meets the fault, and ends or goes on. Its parent holds the journal to
// what the child told.

func TestMain(m *testing.M) {
	if spec := os.Getenv("STOA_FAULT"); spec != "" {
		os.Exit(faultChild(spec))
	}
	os.Exit(m.Run())
}

// diskFault says what goes wrong, and when.
type diskFault struct {
	Name  string
	File  string           // wal, manifest, table, marker, dir
	Ops   []errorfs.OpKind // any of them
	Err   string           // EIO, ENOSPC, slow
	Times int              // how often; 0 means until For is over
	For   time.Duration    // 0 and Times 0: for ever

	After int // acknowledgements until then; 0 means 60

	Want    string // dies, heals, or either
	Small   bool   // a MANIFEST so small that it is rotated
	Reads   bool   // the fault needs a reader: reopen, then read
	Ballast bool   // the ballast must be given up
}

var (
	writes  = []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileWriteAt}
	syncs   = []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}
	creates = []errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite}
	readAts = []errorfs.OpKind{errorfs.OpFileReadAt, errorfs.OpFileRead}
)

func (f diskFault) matches(op errorfs.Op) bool {
	for _, k := range f.Ops {
		if k == op.Kind {
			return fileKind(op.Path) == f.File
		}
	}
	return false
}

func fileKind(path string) string {
	base := filepath.Base(path)
	switch {
	case strings.HasSuffix(base, ".log"):
		return "wal"
	case strings.HasPrefix(base, "MANIFEST"):
		return "manifest"
	case strings.HasSuffix(base, ".sst"):
		return "table"
	case strings.HasPrefix(base, "marker"):
		return "marker"
	case base == "journal":
		return "dir"
	}
	return "other"
}

// injector injects the fault once it is armed.
type injector struct {
	f     diskFault
	armed atomic.Bool
	hits  atomic.Int64
	fill  sync.Once
	first atomic.Int64 // when it was hit first, in nanoseconds

	gaveUp atomic.Bool // the ballast was removed; it may be back by now, for there is room
}

func (i *injector) String() string { return i.f.Name }

func (i *injector) MaybeError(op errorfs.Op) error {
	if op.Kind == errorfs.OpRemove && filepath.Base(op.Path) == ballastName {
		i.gaveUp.Store(true)
	}
	if !i.armed.Load() || !i.f.matches(op) || i.over() {
		return nil
	}
	i.first.CompareAndSwap(0, time.Now().UnixNano())
	if n := i.hits.Add(1); i.f.Times > 0 && n > int64(i.f.Times) {
		return nil
	} else if n == 1 {
		say("hit %v %s", op.Kind, filepath.Base(op.Path))
	}
	switch i.f.Err {
	case "ENOSPC":
		return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
	case "fill": // of a real volume, by someone else; what comes of it is the disk's own answer
		i.fill.Do(fillVolume)
		return nil
	case "slow":
		<-time.After(150 * time.Millisecond) // this is the slow disk
		return nil
	}
	return &os.PathError{Op: "io", Path: op.Path, Err: syscall.EIO}
}

// over says whether the fault has been and gone.
func (i *injector) over() bool {
	first := i.first.Load()
	switch {
	case first == 0:
		return false
	case i.f.Times > 0:
		return i.hits.Load() >= int64(i.f.Times)
	case i.f.For > 0:
		return time.Since(time.Unix(0, first)) > i.f.For
	}
	return false
}

// faultFS also wraps the files that ReuseForWrite gives; errorfs does not, and its
// faults would end in silence with the first recycled WAL.
type faultFS struct {
	*errorfs.FS
	inj errorfs.Injector
}

func (f faultFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, c)
	if err != nil {
		return nil, err
	}
	return errorfs.WrapFile(file, errorfs.InjectorFunc(func(op errorfs.Op) error {
		op.Path = to // errorfs does not know it
		return f.inj.MaybeError(op)
	})), nil
}

func say(format string, args ...any) {
	_, _ = os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n") // one write a line: whole, and unbuffered
}

// fillVolume takes every byte of the volume, and those that the ballast gives back.
func fillVolume() {
	f, err := os.Create(filepath.Join(os.Getenv("STOA_DIR"), "filler"))
	if err != nil {
		say("fill: %v", err)
		os.Exit(3)
	}
	block := make([]byte, 256<<10)
	more := func() {
		for len(block) > 0 {
			if _, err := f.Write(block); err != nil {
				return
			}
		}
	}
	more()
	go func() { // ends with the process
		for {
			more()
			runtime.Gosched()
		}
	}()
}

// exitRefuses: a flush met the full disk before the WAL did, so appends are refused.
const exitRefuses = 7

const faultPatience = 40 * time.Second

// faultChild is the process that meets the fault.
func faultChild(spec string) int {
	inj := &injector{}
	if err := json.Unmarshal([]byte(spec), &inj.f); err != nil {
		say("bad spec: %v", err)
		return 3
	}
	time.AfterFunc(faultPatience, func() {
		buf := make([]byte, 1<<20)
		say("stuck, %d hits\n%s", inj.hits.Load(), buf[:runtime.Stack(buf, true)])
		os.Exit(3)
	})
	o := faultOptions(os.Getenv("STOA_DIR"), inj)
	s, err := Open(context.Background(), o)
	if err != nil {
		say("open: %v", err)
		return 3
	}
	w := &faultWork{inj: inj, end: make(chan struct{})}
	if inj.f.Reads {
		if s, err = w.prepareReads(s, o); err != nil {
			say("prepare: %v", err)
			return 3
		}
	}
	w.run(s)
	if inj.f.Ballast && !inj.gaveUp.Load() {
		say("the ballast was not given up")
		return 3
	}
	if err := s.Close(); err != nil {
		say("close: %v", err)
		return 3
	}
	say("resumed %d", inj.hits.Load())
	return 0
}

func faultOptions(dir string, inj *injector) Options {
	o := Options{
		Dir: filepath.Join(dir, "journal"), Log: quiet(), Ballast: 1 << 20, CutStep: 1 << 20, Reserve: 1,
		FS: faultFS{errorfs.Wrap(vfs.Default, inj), inj},
		tune: func(p *pebble.Options) {
			p.MemTableSize = 128 << 10
			if inj.f.Small {
				p.MaxManifestFileSize = 1
			}
			if inj.f.Reads {
				p.CacheSize = 1
			}
		},
	}
	if inj.f.Err == "fill" {
		o.Reserve = -1 // faster than any gate
	}
	return o
}

// faultWork is three sorts of writers that go on until the fault has been and gone.
type faultWork struct {
	inj   *injector
	acks  atomic.Int64
	since atomic.Int64 // acks since the fault was over

	refusals atomic.Int64
	once     sync.Once
	end      chan struct{}
}

func (w *faultWork) ended() bool {
	select {
	case <-w.end:
		return true
	default:
		return false
	}
}

// ack tells the parent, arms the fault after some work and ends some work after it.
func (w *faultWork) ack(format string, args ...any) {
	say(format, args...)
	if w.acks.Add(1) == int64(cmp.Or(w.inj.f.After, 60)) {
		w.inj.armed.Store(true)
	}
	if w.inj.over() && w.since.Add(1) == 60 {
		w.once.Do(func() { close(w.end) })
	}
}

func (w *faultWork) run(s *Store) {
	ctx, stop := context.WithCancel(context.Background())
	var wg, run sync.WaitGroup
	must := func(err error) {
		if err != nil {
			say("cannot begin: %v", err)
			os.Exit(3)
		}
	}
	raw, err := s.Log(ctx, "raw")
	must(err)
	gathered, err := s.Log(ctx, "gathered")
	must(err)
	table, err := s.Table(ctx, "t")
	must(err)
	c := journal.NewCommitter(gathered, 0, journal.CommitterOptions{})
	run.Go(func() { _ = c.Run(ctx) })
	wg.Go(func() { w.appender(raw) })
	for i := range 3 {
		wg.Go(func() { w.waiter(c, i) })
	}
	wg.Go(func() { w.putter(table) })
	if w.inj.f.Reads {
		wg.Go(func() { w.reader(s) })
	}
	wg.Wait()
	stop()
	run.Wait()
}

// refused says whether err is a refusal after which one may try again; it tells each
// sort of refusal once, and waits for the store to change its mind.
func (w *faultWork) refused(what string, err error) bool {
	switch {
	case errors.Is(err, journal.ErrDown), errors.Is(err, journal.ErrFull), errors.Is(err, journal.ErrUnknown), errors.Is(err, context.DeadlineExceeded):
		say("refused %s: %v", what, err)
		if n := w.refusals.Add(1); n == 100 && w.inj.f.Err == "fill" {
			say("the disk stays full, and the process refuses and lives")
			os.Exit(exitRefuses)
		}
		<-time.After(20 * time.Millisecond) // as a client would back off
		return true
	}
	say("unexpected: %s: %v", what, err)
	os.Exit(3)
	return false
}

var faultPad = strings.Repeat("x", 2000)

func (w *faultWork) appender(l journal.Log) {
	for seq := journal.Seq(1); !w.ended(); {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		mark := journal.Mark([16]byte{7}, uint64(seq))
		_, err := l.Append(ctx, seq-1, mark, []byte(fmt.Sprintf("raw/%d", seq)), []byte(faultPad))
		cancel()
		if errors.Is(err, journal.ErrUnknown) {
			_, err = journal.Settle(context.Background(), l, seq-1, mark, []byte(fmt.Sprintf("raw/%d", seq)), []byte(faultPad))
		}
		if err != nil {
			w.refused("append", err)
			continue
		}
		w.ack("raw %d", seq)
		seq++
		if seq%100 == 0 {
			if err := l.Cut(context.Background(), seq-50); err != nil {
				w.refused("cut", err)
				continue
			}
			say("cut %d", seq-50)
		}
	}
}

func (w *faultWork) waiter(c *journal.Committer, me int) {
	for n := 0; !w.ended(); n++ {
		item := fmt.Sprintf("%d/%d", me, n)
		p, err := c.Append(context.Background(), []byte(item))
		if err != nil {
			w.refused("committer", err)
			continue
		}
		w.ack("place %d %d %s", p.Seq, p.Item, item)
	}
}

func (w *faultWork) putter(t journal.Table) {
	rev := journal.Rev(0)
	for n := 1; !w.ended(); {
		next, err := t.Put(context.Background(), "k", fmt.Appendf(nil, "%d", n), rev)
		if err != nil {
			w.refused("put", err)
			continue
		}
		w.ack("key %d %d", n, next)
		rev = next
		n++
	}
}

// prepareReads fills a log, closes and opens again, so that reads come from tables.
func (w *faultWork) prepareReads(s *Store, o Options) (*Store, error) {
	l, err := s.Log(context.Background(), "old")
	if err != nil {
		return nil, err
	}
	for seq := range journal.Seq(200) {
		if _, err := l.Append(context.Background(), seq, []byte(faultPad)); err != nil {
			return nil, err
		}
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return Open(context.Background(), o)
}

func (w *faultWork) reader(s *Store) {
	l, err := s.Log(context.Background(), "old")
	for err != nil {
		w.refused("open log", err)
		l, err = s.Log(context.Background(), "old")
	}
	for !w.ended() {
		n := 0
		for e, err := range l.Read(context.Background(), 0) {
			if err != nil {
				w.refused("read", err)
				break
			}
			if n++; e.Seq != journal.Seq(n) || len(e.Items[0]) != len(faultPad) {
				say("unexpected: entry %d at %d", e.Seq, n)
				os.Exit(3)
			}
		}
	}
}
