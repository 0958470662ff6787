package process

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stoa/api/fault"
)

// maxEnviron bounds what is read of one process's environment. The kernel's own bound
// for arguments and environment is a quarter of the stack limit: 2 MiB as it comes.
const maxEnviron = 2 << 20

// Sweep ends every process whose mark begins with prefix ("<system data id>/"), and
// returns when there is none left, or when ctx ends. A Stoa calls it at its start, when
// it holds the data folder's lock and has started nothing: what bears its mark then is
// of a dead Stoa. It gives what it ended.
//
// It sees processes of the same user; as root, of all users. The calling process and
// its ancestors are spared. What could not be ended is an Unavailable fault.
func Sweep(ctx context.Context, prefix string) ([]Leftover, error) {
	if err := sweepable(prefix); err != nil {
		return nil, err
	}
	var swept []Leftover
	seen := make(map[proc]bool)
	t0, pause := time.Now(), time.Millisecond
	for {
		found := marked(func(mark string) bool { return strings.HasPrefix(mark, prefix) })
		if len(found) == 0 {
			return swept, nil
		}
		for _, m := range found {
			id := proc{pid: m.pid, start: m.start}
			if !seen[id] {
				seen[id] = true
				swept = append(swept, Leftover{PID: m.pid, Mark: m.mark, Name: m.name})
			}
			// A shim ends by itself, and knows descendants that bear no mark.
			if m.shim && time.Since(t0) < time.Second {
				continue
			}
			_ = m.signal(unix.SIGKILL)
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 100*time.Millisecond)
		case <-ctx.Done():
			var pids []string
			for _, m := range found {
				pids = append(pids, strconv.Itoa(m.pid))
			}
			return swept, &fault.Error{
				Op: "process.sweep", Subject: "processes " + strings.Join(pids, ", "), Kind: fault.Unavailable, Err: ctx.Err(),
				Hint: "End them by hand: kill -9 " + strings.Join(pids, " ") + ".",
			}
		}
	}
}

type markedProc struct {
	proc
	mark, name string
	shim       bool
}

// marked gives the live processes whose mark is wanted, ourselves and our ancestors left out.
func marked(wanted func(mark string) bool) []markedProc {
	all := processes()
	spared := map[int]bool{os.Getpid(): true}
	parent := make(map[int]int, len(all))
	for _, p := range all {
		parent[p.pid] = p.ppid
	}
	for pid := os.Getppid(); pid > 0 && !spared[pid]; pid = parent[pid] {
		spared[pid] = true
	}
	uid := os.Geteuid()
	var found []markedProc
	for _, p := range all {
		if spared[p.pid] || p.state == 'Z' {
			continue
		}
		dir := "/proc/" + strconv.Itoa(p.pid)
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil || uid != 0 && int(st.Uid) != uid && st.Uid != 0 {
			continue // a shim of this user belongs to root, not being dumpable
		}
		m := markedProc{proc: p}
		// The shim shows its mark as its argument: its environment cannot be read.
		cmdline, _ := slurp(dir+"/cmdline", 512)
		if rest, ok := bytes.CutPrefix(cmdline, []byte(shimName+"\x00")); ok {
			mark, _, _ := bytes.Cut(rest, []byte{0})
			m.mark, m.shim = string(mark), true
		} else if environ, ok := slurp(dir+"/environ", maxEnviron); ok {
			m.mark, _ = markIn(environ)
		}
		if m.mark == "" || !wanted(m.mark) {
			continue
		}
		if now, ok := look(p.pid); !ok || now.start != p.start {
			continue // what was read is of somebody else
		}
		name, _ := slurp(dir+"/comm", 32)
		m.name = strings.TrimSpace(string(name))
		found = append(found, m)
	}
	return found
}

// reclaim ends what an instance leaves when its shim was killed: the shim's session (in
// which the program's group is), what bears exactly the mark, and the descendants of both. The shim must not have been reaped
// yet, so that its pid, which names the session, is nobody else's. What cannot be ended
// within stuckAfter is returned.
func reclaim(shim, program int, mark string) (stuck []int) {
	for t0, pause := time.Now(), time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		all := processes()
		victims := make(map[int]proc)
		add := func(p proc) {
			for _, p := range append([]proc{p}, below(all, p.pid)...) {
				if p.state != 'Z' && p.pid != shim && p.pid != os.Getpid() {
					victims[p.pid] = p
				}
			}
		}
		for _, p := range all {
			if p.session == shim {
				add(p)
			}
		}
		if mark != "" {
			for _, m := range marked(func(got string) bool { return got == mark }) {
				add(m.proc)
			}
		}
		if len(victims) == 0 {
			return nil
		}
		if time.Since(t0) > stuckAfter {
			for pid := range victims {
				stuck = append(stuck, pid)
			}
			return stuck
		}
		for _, p := range victims {
			_ = p.signal(unix.SIGKILL)
		}
		time.Sleep(pause)
	}
}
