package pebblestore

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ExitDisk is the exit code of a process that ended because the disk failed it. A
// parent that sees it starts the process again: opening is what recovers.
const ExitDisk = 86

// ExitDamaged is that of one that ended over ErrDamaged. Starting again helps if what is
// damaged is seldom read; a parent that sees it again at once gives up.
const ExitDamaged = 87

// Options tune a Store. Only Dir is needed.
type Options struct {
	Dir string // the folder that the store owns; made if absent (0700)
	FS  vfs.FS // nil means the real disk

	// Fatal is told why the process must end and does not return; nil means to print
	// the reason to stderr and to exit with ExitDisk or ExitDamaged. If it does return, every call
	// gives ErrDown from then on and Close does not wait for the disk.
	Fatal func(reason error)

	Reserve int64            // bytes of the volume that appends leave free; 0: 5 %, within 64 and 512 MiB; below 0: no gate
	Ballast int64            // bytes kept in a file, given up when the disk is full all the same; 0: 16 MiB; below 0: none
	CutStep int64            // bytes cut from a log before they are deleted together; 0: 40 MiB
	Now     func() time.Time // the wall clock for Entry.At; nil means time.Now
	Log     *slog.Logger     // nil means slog.Default()

	// ackEarly acknowledges before the sync. It is the control of the crash test,
	// which must notice; nothing but a test of this package can set it.
	ackEarly bool

	tune func(*pebble.Options) // for tests of this package: smaller memtables, so that more happens
}

const (
	defaultBallast = 16 << 20 // one full WAL, a MANIFEST and the first flush
	defaultCutStep = 40 << 20
	closeDeadline  = 10 * time.Second // a close that takes longer hangs
)

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Fatal == nil {
		dir := o.Dir
		o.Fatal = func(reason error) {
			code, next := ExitDisk, "opening the journal again recovers it"
			if errors.Is(reason, ErrDamaged) {
				code, next = ExitDamaged, "what is damaged does not mend itself"
			}
			fmt.Fprintf(os.Stderr, "stoa: journal %s: %v\nstoa: ending; %s\n", dir, reason, next)
			os.Exit(code)
		}
	}
	o.Ballast = cmp.Or(o.Ballast, defaultBallast)
	o.CutStep = cmp.Or(o.CutStep, defaultCutStep)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("part", "journal")
	return o
}

// pebbleOptions are the values measured for a journal; docs/adr/0003 has the table.
func (o Options) pebbleOptions() *pebble.Options {
	p := &pebble.Options{
		FS:                          o.FS,
		FormatMajorVersion:          pebble.FormatWALSyncChunks, // pinned: it only moves forward, and this one tells a torn WAL tail from damage beyond the WAL's first block; see witness for the rest
		CacheSize:                   4 << 20,                    // 64 MiB: 109-112 MB resident instead of 37-40
		MemTableSize:                4 << 20,                    // 64 MiB: 828 ms to open a million entries after kill -9 instead of 86
		MemTableStopWritesThreshold: 4,
		FlushDelayDeleteRange:       time.Second, // a cut frees space even if nothing is written after it
		MaxOpenFiles:                256,
		MaxManifestFileSize:         16 << 20,
	}
	p.Experimental.CompactionScheduler = newCompactions()
	p.TargetFileSizes[0] = 8 << 20
	for i := range p.Levels {
		p.Levels[i].BlockSize = 32 << 10
		p.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
	}
	return p
}

// hooks connects Pebble's events to the store's one way of failing. Pebble calls some
// of them under its own lock: they set a flag or end the process, nothing else.
func (f *failure) hooks(p *pebble.Options, log *slog.Logger) {
	p.Logger = pebbleLog{f, log}
	p.EventListener = &pebble.EventListener{
		BackgroundError: func(error) {}, // flushes are seen in FlushEnd; a failed compaction is tried again and blocks no one
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			f.fail(fmt.Errorf("%s is %w: %w", i.Path, ErrDamaged, i.Details))
		},
		WALCreated: func(i pebble.WALCreateInfo) {
			if i.Err != nil {
				f.fail(fmt.Errorf("creating WAL %s: %w", i.Path, i.Err))
			}
		},
		ManifestCreated: func(i pebble.ManifestCreateInfo) {
			if i.Err != nil {
				f.fail(fmt.Errorf("creating MANIFEST %s: %w", i.Path, i.Err))
			}
		},
		FlushEnd: func(i pebble.FlushInfo) {
			switch {
			case i.Err == nil, strings.Contains(i.Err.Error(), "empty table"): // after a full cut there is nothing to write
				f.flush.Store(nil)
			default:
				err := i.Err
				f.flush.Store(&err)
				if f.opening.Load() { // Pebble would try for ever before it returns from Open
					f.fail(fmt.Errorf("flushing what was recovered: %w", err))
				}
			}
		},
		DiskSlow: func(i pebble.DiskSlowInfo) {
			// On the goroutine that watches the disk, which must do no I/O, so no logging
			// either: the syncer reports it.
			what := i.String()
			f.slow.Store(&what)
		},
	}
}

// pebbleLog passes on what Pebble says when something is wrong, and ends the process
// where Pebble would.
type pebbleLog struct {
	f   *failure
	log *slog.Logger
}

func (pebbleLog) Infof(string, ...any)           {}
func (l pebbleLog) Errorf(f string, args ...any) { l.log.Warn("pebble: " + fmt.Sprintf(f, args...)) }
func (l pebbleLog) Fatalf(f string, args ...any) { l.f.fail(fmt.Errorf(f, args...)) }
