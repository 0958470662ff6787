package blueprint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"stoa/internal/kernel/blueprint"
)

// hostile are files that cost some parser dearly.
func hostile() map[string]string {
	const head = "kind: Service\nname: x\n"
	laughs := "a: &a [lol, lol]\n"
	for c := 'b'; c < 'z'; c++ {
		laughs += fmt.Sprintf("%c: &%c [*%c, *%c, *%c, *%c]\n", c, c, c-1, c-1, c-1, c-1)
	}
	var indent strings.Builder
	for i := range 1400 {
		indent.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return map[string]string{
		"ten megabytes":     head + "env:\n" + strings.Repeat(" A: b\n", 10<<20/6),
		"billion laughs":    laughs,
		"quadratic aliases": head + "env: &a {A: b}\nuses: [" + strings.Repeat("*a, ", 40_000) + "]",
		"deep flow":         strings.Repeat("[", 1_000_000),
		"deep mappings":     strings.Repeat("{a: ", 250_000),
		"deep blocks":       strings.Repeat("- ", 500_000),
		"deep questions":    strings.Repeat("? ", 500_000),
		"deep indent":       indent.String(),
		"many keys":         head + "env:\n" + strings.Repeat(" A: b\n", 170_000),
		"many other keys":   head + "env: {" + strings.Repeat("a,", 500_000),
		"most keys":         head + "env:\n" + manyKeys(29_000),
		"most nulls":        "{" + strings.Repeat("a,", 29_000) + "}",
		"empty keys":        "{" + strings.Repeat("?,", 19_000) + "}",
		"keys only":         strings.Repeat("a:\n", 300_000),
		"quoted keys":       "{" + strings.Repeat(`"a":`, 200_000),
		"quoted values":     "[" + strings.Repeat(`"a" `, 200_000),
		"comments":          strings.Repeat("# a\n", 59_000) + head,
		"comments between":  "a:\n" + strings.Repeat("- b\n# c\n", 29_000),
		"documents":         strings.Repeat("---\nkind: Service\nname: x\n", 9_999),
		"too many":          strings.Repeat("---\na\n", 45_000),
		"long text":         head + "env: {A: '" + strings.Repeat("x ", 500_000) + "'}",
		"long word":         head + "env: {A: " + strings.Repeat("x", 1_000_000) + "}",
		"long block":        head + "env:\n  A: |\n" + strings.Repeat("    x\n", 59_000),
		"long number":       head + "scale: {min: " + strings.Repeat("9", 200_000) + "}",
		"long float":        head + "scale: {cpu: 1e" + strings.Repeat("9", 200_000) + "}",
		"long name":         "kind: Service\nname: " + strings.Repeat("x", 200_000),
		"long key":          head + "\"" + strings.Repeat("k", 200_000) + "\": 1",
		"many problems":     head + "uses:\n" + strings.Repeat("- 1\n", 59_000),
		"many dangling":     head + "run: {go: .}\n" + dangling(4_000),
		"unknown fields":    head + manyFields(29_000),
		"tags":              strings.Repeat("%TAG !a! b\n", 29_000) + "---\na",
		"binary":            "\x7fELF\x02\x01\x01" + strings.Repeat("\x00\xff\xfe", 300_000),
		"utf-16":            "\xff\xfek\x00i\x00n\x00d\x00",
		"carriage returns":  "a:\r" + strings.Repeat("- b\r", 200_000),
		"next lines":        "a:\u0085" + strings.Repeat("- b\u0085", 100_000),
		"control":           "kind: Service\nname: \x1b[31mred",
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " K%d: v\n", i)
	}
	return b.String()
}

// dangling gives documents that each use one that is not there.
func dangling(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\nkind: Topic\nname: t%d\n", i)
	}
	b.WriteString("---\nkind: Service\nname: y\nrun: {go: .}\npublishes: [" + strings.Repeat("x, ", 18_000) + "]\n")
	return b.String()
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "field%d: v\n", i)
	}
	return b.String()
}

// A hostile file is refused, or read, within a second and 64 MiB.
func TestHostileFilesCostLittle(t *testing.T) {
	limit := time.Second // of CPU: the machine may be busy with other things
	if raceEnabled {
		limit = 10 * time.Second
	}
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			dir := parseArchive("-- stoa.yaml --\n" + "kind: System\nname: shop\n").write(t)
			if err := os.Mkdir(filepath.Join(dir, "x"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "x", "stoa.yaml"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			var s *blueprint.Set
			var took time.Duration
			var grown uint64
			for range 3 { // the garbage collector's mood counts as well
				s, took, grown = measure(t, dir)
				if raceEnabled || took <= limit && grown <= 64<<20 {
					break
				}
			}
			first := "no problems"
			if len(s.Problems) > 0 {
				first = s.Problems[0].String()
			}
			t.Logf("%v, %d MiB, %d problems: %.150s", took.Round(time.Millisecond), grown>>20, len(s.Problems), first)
			if took > limit {
				t.Errorf("took %v, want at most %v", took, limit)
			}
			if grown > 64<<20 && !raceEnabled {
				t.Errorf("the heap grew by %d MiB, want at most 64", grown>>20)
			}
			for _, p := range s.Problems {
				if len(p.String()) > 2000 {
					t.Errorf("a message of %d bytes: %.200s...", len(p.String()), p)
				}
			}
		})
	}
}

// measure loads dir and gives the CPU time it took and by how much the heap grew.
func measure(t *testing.T, dir string) (s *blueprint.Set, took time.Duration, grown uint64) {
	t.Helper()
	stop, peak := make(chan struct{}), make(chan uint64)
	runtime.GC()
	go watchHeap(stop, peak)
	start := cpu(t)
	s, err := blueprint.Load(t.Context(), dir, catalog(), blueprint.Options{})
	took = cpu(t) - start
	close(stop)
	grown = <-peak
	if err != nil {
		t.Fatal(err)
	}
	return s, took, grown
}

// cpu gives the CPU time of this process.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// watchHeap samples the live heap until stop is closed and then gives its greatest growth.
func watchHeap(stop <-chan struct{}, peak chan<- uint64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	first, most := m.HeapInuse, m.HeapInuse
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			runtime.ReadMemStats(&m)
			peak <- max(most, m.HeapInuse) - min(first, max(most, m.HeapInuse))
			return
		}
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
	}
}

func TestAFileThatIsNoneIsNotOpened(t *testing.T) {
	dir := parseArchive("-- stoa.yaml --\nkind: System\nname: shop\n").write(t)
	for _, sub := range []string{"fifo", "dir", "dangling"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo", "stoa.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir", "stoa.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling", "stoa.yaml")); err != nil {
		t.Fatal(err)
	}
	s, err := blueprint.Load(t.Context(), dir, catalog(), blueprint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := problems(s), `dangling/stoa.yaml: cannot be read: no such file or directory
dir/stoa.yaml: cannot be read: is no regular file
fifo/stoa.yaml: cannot be read: is no regular file
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestALoopOfLinksEnds(t *testing.T) {
	dir := parseArchive("-- stoa.yaml --\nkind: System\nname: shop\ninclude: [loop, ., ..]\n-- a/stoa.yaml --\nkind: Service\nname: a\nrun: {go: .}\n").write(t)
	if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	s, err := blueprint.Load(t.Context(), dir, catalog(), blueprint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Docs) != 2 {
		t.Errorf("%d documents, want 2\n%s", len(s.Docs), problems(s))
	}
}

func TestLoadStopsWhenItIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := blueprint.Load(ctx, parseArchive("-- stoa.yaml --\nkind: System\nname: shop\n").write(t), catalog(), blueprint.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
}

// BenchmarkLoad reads a system of 1,000 services, each in a file of its own.
func BenchmarkLoad(b *testing.B) {
	a := archive{files: [][2]string{{"stoa.yaml", "kind: System\nname: big\n"}}}
	for i := range 1000 {
		text := fmt.Sprintf("kind: Service\nname: s%d\nrun: {go: ./cmd/s%d, args: [-v, -x]}\nenv: {LOG_LEVEL: info, A: b}\n", i, i)
		text += fmt.Sprintf("uses: [{service: s%d, timeout: 300ms, operations: [a, b]}, {service: s%d}]\nhealth: {ready: /readyz}\nscale: {min: 2, max: 4}\n", (i+1)%1000, (i+7)%1000)
		a.files = append(a.files, [2]string{fmt.Sprintf("s%d/stoa.yaml", i), text})
	}
	dir, cat := a.write(b), catalog()
	b.ReportAllocs()
	for b.Loop() {
		s, err := blueprint.Load(b.Context(), dir, cat, blueprint.Options{})
		if err != nil || len(s.Problems) > 0 || len(s.Docs) != 1001 {
			b.Fatal(err, problems(s))
		}
	}
}
