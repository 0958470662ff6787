package process_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/process"
)

// A shim is cheap. What is shared with Stoa (the binary's code) is not its cost; what
// it alone has written is.
func TestShimIsSmall(t *testing.T) {
	const n = 4
	s := starter(t)
	var pids []int
	for range n {
		var out output
		in, err := s.Start(t.Context(), process.Spec{Argv: []string{exe()}, Env: []string{"ROLE=obstinate"}, Stdout: out.sink})
		must(err)
		eventually(t, "ready", func() bool { return out.has("ready") })
		pids = append(pids, ppid(t, in.Pid()))
	}
	sum := make(map[string]int) // KiB
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Logf("not measured: a shim cannot be looked into by this user: %v", err)
			return
		}
		for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
			if f := strings.Fields(sc.Text()); len(f) == 3 {
				kib, _ := strconv.Atoi(f[1])
				sum[strings.TrimSuffix(f[0], ":")] += kib
			}
		}
	}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pids[0]))
	t.Logf("of one shim: RSS %d KiB, PSS %d KiB, private and written %d KiB, %d threads",
		sum["Rss"]/n, sum["Pss"]/n, sum["Private_Dirty"]/n, len(threads))
	if got := sum["Private_Dirty"] / n; got > 4<<10 && !raced {
		t.Errorf("a shim has written %d KiB of its own, want at most 4 MiB", got)
	}
}

func BenchmarkStartToExit(b *testing.B) {
	s := process.New(process.Options{})
	defer s.Close()
	for b.Loop() {
		in, err := s.Start(b.Context(), process.Spec{Argv: []string{"/bin/true"}})
		if err != nil {
			b.Fatal(err)
		}
		<-in.Done()
	}
	b.ReportMetric(float64(b.Elapsed()/time.Microsecond)/float64(b.N), "µs/instance")
}
