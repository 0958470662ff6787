package process

import (
	"bytes"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// proc is one process as /proc/PID/stat told of it. Pid and start together name a
// process for all time, up to a reboot.
type proc struct {
	pid, ppid, group, session int

	start uint64 // clock ticks since boot
	state byte   // 'Z' is dead and not yet reaped
}

// processes gives every process that can be seen. It is no snapshot: what forks or ends
// meanwhile may be missing, so whoever kills looks again.
func processes() []proc {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	all := make([]proc, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := look(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// look reads one process; ok is false when there is none of that pid.
func look(pid int) (p proc, ok bool) {
	b, ok := slurp("/proc/"+strconv.Itoa(pid)+"/stat", 1<<10)
	if !ok {
		return p, false
	}
	// The second field is the name in parentheses, and may itself hold any of them.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return p, false
	}
	p.pid, p.state = pid, fields[0][0]
	p.ppid, _ = strconv.Atoi(string(fields[1]))
	p.group, _ = strconv.Atoi(string(fields[2]))
	p.session, _ = strconv.Atoi(string(fields[3]))
	p.start, _ = strconv.ParseUint(string(fields[19]), 10, 64)
	return p, true
}

// slurp reads at most most bytes of a file of /proc. It goes past package os, which
// would bring up the network poller in every shim.
func slurp(path string, most int) ([]byte, bool) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 512)
	for len(b) < most {
		b = slices.Grow(b, 512)
		n, err := unix.Read(fd, b[len(b):cap(b)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, false
		}
		if n == 0 {
			break
		}
		b = b[:len(b)+n]
	}
	return b, true
}

// below gives the descendants of root, nearest first, root not among them.
func below(all []proc, root int) []proc {
	children := make(map[int][]proc)
	for _, p := range all {
		children[p.ppid] = append(children[p.ppid], p)
	}
	found := append([]proc(nil), children[root]...)
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found
}

// signal sends sig to p and to no other that may bear its pid by now: the descriptor
// holds on to one process, and the second look says that it is the one meant.
func (p proc) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err == unix.ENOSYS || err == unix.EPERM { // before Linux 5.3, or filtered
		if now, ok := look(p.pid); !ok || now.start != p.start {
			return unix.ESRCH
		}
		return unix.Kill(p.pid, sig)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if now, ok := look(p.pid); !ok || now.start != p.start {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}
