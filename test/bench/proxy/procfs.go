package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// cores are those of the machine.
var cores = runtime.NumCPU()

// ticks is USER_HZ, in which /proc counts; the kernel's interface fixes it.
const ticks = 100

// usage is what processes have used since they began.
type usage struct {
	User, System float64 // CPU seconds
	Switches     int64   // voluntary and not
}

func (u usage) minus(v usage) usage {
	return usage{u.User - v.User, u.System - v.System, u.Switches - v.Switches}
}

func (u usage) cpu() float64 { return u.User + u.System }

// used sums over processes, with all their threads, also those that have ended, and the
// children that were waited for. One that has ended counts nothing.
func used(pids ...int) (u usage) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		number := func(i int) float64 { v, _ := strconv.ParseFloat(f[i], 64); return v / ticks }
		u.User += number(11) + number(13)
		u.System += number(12) + number(14)
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, task := range tasks {
			b, _ := os.ReadFile(task)
			for line := range strings.Lines(string(b)) {
				if k, v, ok := strings.Cut(line, ":"); ok && strings.HasSuffix(k, "ctxt_switches") {
					n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
					u.Switches += n
				}
			}
		}
	}
	return u
}

// tree gives a process and all below it.
func tree(pid int) []int {
	pids := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, tree(n)...)
			}
		}
	}
	return pids
}

// memory is what processes have in memory, in bytes. RSS counts a page that two of them
// share twice; Private counts those pages only that would be free without them.
type memory struct {
	RSS     int64 `json:"rss"`
	Private int64 `json:"private"`
}

func resident(pids ...int) (m memory) {
	for _, pid := range pids {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "Rss:":
				m.RSS += kb << 10
			case "Private_Clean:", "Private_Dirty:":
				m.Private += kb << 10
			}
		}
	}
	return m
}

// machine is how long all cores together were idle since they were started, and how long
// the hypervisor had given them to others, in seconds. The kernel measures idle time with a
// clock; busy time it counts in ticks, which is too coarse for a sample of seconds.
type machine struct{ idle, steal float64 }

func readMachine() (m machine) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line) {
		v, _ := strconv.ParseFloat(f, 64)
		switch i {
		case 4, 5: // idle, and idle while something waits for a disk
			m.idle += v / ticks
		case 8:
			m.steal += v / ticks
		}
	}
	return m
}

func loadAverage() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	f, _, _ := strings.Cut(string(b), " ")
	v, _ := strconv.ParseFloat(f, 64)
	return v
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(b))
}
