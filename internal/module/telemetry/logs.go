package telemetry

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/telemetry"
	"stoa/api/workload"
	"stoa/internal/ground/nearest"
)

// Bounds of what is kept.
const (
	segmentBytes = 8 << 20 // of one segment
	maxSegments  = 8       // on disk; the oldest goes first
	maxPending   = 20_000  // lines that wait for the disk

	maxPendingBytes = 16 << 20 // of their text
	maxRecent       = 2_000    // lines in memory, for those who follow
	maxText         = 64 << 10 // bytes of a line
	flushEvery      = 200 * time.Millisecond
	defaultTail     = 200
	maxTail         = 100_000
)

// logs keeps lines: all of them on disk in segments of JSON lines, named by when they
// were begun, and the latest in memory for those who follow.
type logs struct {
	dir string // "" keeps the recent ones only
	now func() time.Time

	mu      sync.Mutex
	recent  []telemetry.Line // the last of them, at most maxRecent; guarded by mu
	next    uint64           // number of the next line; guarded by mu
	pending []telemetry.Line // not written yet; guarded by mu
	waits   int              // bytes of text that are pending, some more in truth; guarded by mu
	wake    chan struct{}    // of one: a line waits for the disk
	changed chan struct{}    // closed and replaced at each line; guarded by mu
	waiting bool             // somebody waits on changed; guarded by mu

	fileMu sync.Mutex // taken before mu
	file   *os.File   // guarded by fileMu
	size   int64      // of file; guarded by fileMu

	lost func(lines int) // counts those that could not be written
}

func newLogs(dir string, now func() time.Time) *logs {
	return &logs{dir: dir, now: now, changed: make(chan struct{}), wake: make(chan struct{}, 1), lost: func(int) {}}
}

// add keeps a line, and says whether it found room.
func (l *logs) add(line telemetry.Line) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir != "" {
		if len(l.pending) >= maxPending || l.waits >= maxPendingBytes {
			return false
		}
		l.pending = append(l.pending, line)
		select {
		case l.wake <- struct{}{}:
		default: // it is awake
		}
		l.waits += len(line.Text)
	}
	if l.recent = append(l.recent, line); len(l.recent) >= 2*maxRecent { // seldom, so that it costs little
		l.recent = slices.Clone(l.recent[len(l.recent)-maxRecent:])
	}
	l.next++
	if l.waiting {
		close(l.changed)
		l.changed, l.waiting = make(chan struct{}), false
	}
	return true
}

func (l *logs) open() error {
	if l.dir == "" {
		return nil
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	return l.roll()
}

// roll begins a new segment and removes the oldest beyond the bound. fileMu is held.
func (l *logs) roll() error {
	name := filepath.Join(l.dir, l.now().UTC().Format("20060102T150405.000000000")+".jsonl")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if l.file != nil { // only now: while no other can be made, lines go on into this one
		_ = l.file.Close() // lines are losable
	}
	l.file, l.size = f, 0
	all, err := l.segments()
	if err != nil {
		return err
	}
	for len(all) > maxSegments {
		if err := os.Remove(all[0]); err != nil {
			return err
		}
		all = all[1:]
	}
	return nil
}

// segments gives the files, oldest first.
func (l *logs) segments() ([]string, error) {
	return filepath.Glob(filepath.Join(l.dir, "*.jsonl")) // sorted
}

// write writes what waits, a moment after the first of it came, until ctx ends; then the rest.
func (l *logs) write(ctx context.Context) {
	defer l.flush()
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(flushEvery):
		case <-ctx.Done():
			return
		}
		l.flush()
	}
}

// flush writes what waits.
func (l *logs) flush() {
	if l.dir == "" {
		return
	}
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	if l.file == nil {
		return // not open yet, or no more: what waits goes on waiting, up to its bound
	}
	l.mu.Lock()
	lines := l.pending
	l.pending, l.waits = nil, 0
	l.mu.Unlock()
	if len(lines) == 0 {
		return
	}
	w := bufio.NewWriterSize(l.file, 64<<10)
	for _, line := range lines {
		b, err := json.Marshal(line)
		if err != nil {
			continue // a field that no JSON can hold, which parseLine does not make
		}
		w.Write(b)
		w.WriteByte('\n')
		l.size += int64(len(b)) + 1
	}
	if err := w.Flush(); err != nil {
		l.lost(len(lines)) // a full disk, most likely; some of them may be there
		return
	}
	if l.size >= segmentBytes {
		_ = l.roll() // then the next flush tries again
	}
}

// close ends the writing.
func (l *logs) close() {
	l.flush()
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // lines are losable
		l.file = nil
	}
}

// choice says which lines are wanted.
type choice struct {
	service, level, trace string
	since                 time.Time
	tail                  int
	access                bool
}

var levels = []string{"debug", "info", "warn", "error"}

func (c choice) wants(l *telemetry.Line) bool {
	return (c.service == "" || l.Service == c.service) && (c.trace == "" || l.TraceID == c.trace) &&
		(l.Stream != "access" || c.access || c.trace != "") && !l.At.Before(c.since) &&
		(c.level == "" || slices.Index(levels, cmp.Or(l.Level, "info")) >= slices.Index(levels, c.level))
}

// A reading is the lines that were there at one moment, each once: those on disk up to a
// size, those in memory. What is written later is not in it, and it holds nobody up.
type reading struct {
	files  []segment
	memory []telemetry.Line
	next   uint64 // number of the line after them
}

// A segment is an open file, of which size bytes are to be read. It can be read though it
// is rolled away.
type segment struct {
	file *os.File
	size int64
}

func (r *reading) close() {
	for _, s := range r.files {
		_ = s.file.Close() // it was only read
	}
}

// begin opens a reading, which its owner closes. Files are opened under the lock, and read
// without it: a scan of all segments takes a second, in which services go on writing.
func (l *logs) begin() (r reading, err error) {
	l.fileMu.Lock() // nothing moves from memory to disk meanwhile, so that no line is read twice or never
	defer l.fileMu.Unlock()
	if l.dir != "" {
		all, err := l.segments()
		if err != nil {
			return r, err
		}
		for _, name := range all {
			f, err := os.Open(name)
			var info fs.FileInfo
			if err == nil {
				r.files = append(r.files, segment{file: f})
				info, err = f.Stat()
			}
			if err != nil {
				r.close()
				return r, fmt.Errorf("logs: %w", err)
			}
			r.files[len(r.files)-1].size = info.Size()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.next = l.next
	r.memory = slices.Clone(l.pending)
	if l.dir == "" {
		r.memory = slices.Clone(l.recent)
	}
	return r, nil
}

// past gives the last lines that are wanted, oldest first, the number of the line after
// them, and the names of all that have written any line that is kept.
func (l *logs) past(ctx context.Context, c choice) (lines []telemetry.Line, next uint64, names map[string]bool, err error) {
	r, err := l.begin()
	if err != nil {
		return nil, 0, nil, err
	}
	defer r.close()
	lines, names, err = r.lines(ctx, c)
	return lines, r.next, names, err
}

// lines reads it through.
func (r *reading) lines(ctx context.Context, c choice) ([]telemetry.Line, map[string]bool, error) {
	var out []telemetry.Line
	names := map[string]bool{}
	keep := func(line telemetry.Line) {
		names[line.Service] = true
		if c.wants(&line) {
			if out = append(out, line); len(out) >= 2*c.tail {
				out = slices.Clone(out[len(out)-c.tail:])
			}
		}
	}
	for _, s := range r.files {
		if err := scan(ctx, io.LimitReader(s.file, s.size), keep); err != nil {
			return nil, nil, err
		}
	}
	for _, line := range r.memory {
		keep(line)
	}
	return out[max(0, len(out)-c.tail):], names, nil
}

// scan reads a segment. A torn last line, of a Stoa that was killed, is passed over.
func scan(ctx context.Context, f io.Reader, keep func(telemetry.Line)) error {
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 64<<10), 4*maxText+64<<10)
	for s.Scan() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var line telemetry.Line
		if json.Unmarshal(s.Bytes(), &line) == nil {
			keep(line)
		}
	}
	if err := s.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("logs: %w", err)
	}
	return nil
}

// after gives the lines from number from on, the number after them, and what is closed when there are more.
func (l *logs) after(from uint64) ([]telemetry.Line, uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from >= l.next {
		l.waiting = true
		return nil, l.next, l.changed
	}
	n := min(int(l.next-from), len(l.recent)) // who is too slow misses some
	return slices.Clone(l.recent[len(l.recent)-n:]), l.next, nil
}

func (m *Module) followLogs(ctx context.Context, in telemetry.LogsIn) (iter.Seq2[telemetry.Line, error], error) {
	if in.Level != "" && !slices.Contains(levels, in.Level) {
		return nil, fault.New(fault.Invalid, "--level", "%q: want debug, info, warn or error", in.Level)
	}
	if in.Tail < 0 {
		return nil, fault.New(fault.Invalid, "--tail", "must not be negative")
	}
	c := choice{service: in.Service, level: in.Level, trace: in.Trace, access: in.Access, tail: min(cmp.Or(in.Tail, defaultTail), maxTail)}
	if in.Since > 0 {
		c.since = m.o.Now().Add(-in.Since.D())
	}
	past, next, wrote, err := m.logs.past(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := m.known(in.Service, wrote); err != nil {
		return nil, err
	}
	return func(yield func(telemetry.Line, error) bool) {
		for _, line := range past {
			if !yield(line, nil) {
				return
			}
		}
		for in.Follow {
			lines, to, changed := m.logs.after(next)
			next = to
			for _, line := range lines {
				if c.wants(&line) && !yield(line, nil) {
					return
				}
			}
			if changed == nil {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// known refuses the name of a service that is not declared and of which no line is kept.
// Jobs write under the name of their service.
func (m *Module) known(name string, wrote map[string]bool) error {
	if name == "" || wrote[name] || m.o.State == nil || name == gatewayName || name == StoaName {
		return nil
	}
	state := m.o.State()
	if _, ok := state.Docs[core.Ref{Kind: core.KindService, Name: name}]; ok {
		return nil // it has nothing to say yet
	}
	if job, ok := state.Docs[core.Ref{Kind: core.KindJob, Name: name}]; ok {
		of := workload.JobBody.Of(job).Of
		return fault.New(fault.NotFound, job.Ref().String(), "a job writes into the lines of its service, %s", of).WithHint("See stoa logs %s", of)
	}
	for _, d := range state.Of(core.KindService) {
		wrote[d.Name] = true
	}
	hint := nearest.Sentence(name, slices.Collect(maps.Keys(wrote)))
	return fault.New(fault.NotFound, "service/"+name, "not found, and it has written nothing that is kept").WithHint("%s", cmp.Or(hint, "Nothing is applied: stoa apply DIR."))
}

// parseLine makes a line of what a program wrote. A line that is a JSON object gives
// its level, message and trace id; the rest of it becomes fields.
func parseLine(now time.Time, service, instance, stream string, text []byte) telemetry.Line {
	l := telemetry.Line{At: core.At(now), Service: service, Instance: instance, Stream: stream}
	if len(text) > maxText {
		text = text[:maxText]
	}
	if len(text) > 1 && text[0] == '{' && text[len(text)-1] == '}' {
		var fields map[string]any
		if json.Unmarshal(text, &fields) == nil {
			l.Level = normal(pick(fields, "level", "severity", "lvl"))
			l.TraceID = pick(fields, "traceId", "trace_id", "traceID", "trace")
			l.Text = pick(fields, "msg", "message")
			delete(fields, "time")
			delete(fields, "ts")
			delete(fields, "timestamp")
			if len(fields) > 0 {
				l.Fields = fields
			}
			return l
		}
	}
	l.Text = strings.ToValidUTF8(string(text), "\uFFFD")
	return l
}

// pick takes the first of the names that is a string out of fields.
func pick(fields map[string]any, names ...string) string {
	for _, n := range names {
		if s, ok := fields[n].(string); ok {
			delete(fields, n)
			return s
		}
	}
	return ""
}

// normal gives one of levels, or "".
func normal(level string) string {
	switch strings.ToLower(level) {
	case "debug", "trace":
		return "debug"
	case "info", "notice":
		return "info"
	case "warn", "warning":
		return "warn"
	case "error", "err", "fatal", "critical", "panic":
		return "error"
	}
	return ""
}

func printLine(w io.Writer, l telemetry.Line) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-12s ", l.At.Local().Format("15:04:05.000"), l.Service)
	switch {
	case l.Level == "warn" || l.Level == "error":
		b.WriteString(strings.ToUpper(l.Level) + " ")
	case l.Stream == "build" || l.Stream == "access":
		b.WriteString(l.Stream + " ")
	}
	b.WriteString(clean(l.Text))
	names := make([]string, 0, len(l.Fields))
	for n := range l.Fields {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		v, err := json.Marshal(l.Fields[n])
		if err == nil {
			fmt.Fprintf(&b, " %s=%s", clean(n), clean(string(v)))
		}
	}
	if l.TraceID != "" {
		id := clean(l.TraceID) // a program may call anything so
		b.WriteString(" trace=" + id[:min(8, len(id))])
	}
	fmt.Fprintln(w, b.String())
}

// clean takes control bytes out of a text, so that a program's output cannot steer the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}
