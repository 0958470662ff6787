package command

import (
	"fmt"
	"os"
	"strings"

	"stoa/api/workload"
)

// A table is the live view of a terminal: the services, below everything that was said.
// It is drawn anew only when it says something else. Its owner sees to it that one
// goroutine uses it.
type table struct {
	tty   *os.File
	color bool

	shown string // as it stands on the terminal, "" for not at all
	lines int    // of shown
}

// wipe takes the table off the terminal.
func (t *table) wipe() {
	if t.lines > 0 {
		fmt.Fprintf(t.tty, "\x1b[%dA\x1b[J", t.lines)
	}
	t.shown, t.lines = "", 0
}

// draw puts the table on the terminal, in place of the one before.
func (t *table) draw(status workload.Status) {
	text, lines := t.text(status, termWidth(t.tty))
	if text == t.shown {
		return
	}
	t.wipe()
	fmt.Fprint(t.tty, text)
	t.shown, t.lines = text, lines
}

// text gives the table as lines that are shorter than width.
func (t *table) text(status workload.Status, width int) (text string, lines int) {
	var b strings.Builder
	line := func(color, text string) {
		if r := []rune(text); len(r) >= width && width > 1 {
			text = string(r[:width-1])
		}
		if color != "" && t.color {
			text = color + text + "\x1b[0m"
		}
		b.WriteString(text + "\n")
		lines++
	}
	line("", "")
	line("\x1b[2m", fmt.Sprintf("%-16s %-10s %-6s %-22s %8s %8s %9s  %s", "SERVICE", "STATE", "READY", "ADDRESS", "RESTARTS", "REQ/S", "P99", "LAST ERROR"))
	for _, s := range status.Services {
		p99, rate := "-", "-"
		if s.Rate > 0 {
			p99, rate = fmt.Sprintf("%.1fms", s.P99Millis), fmt.Sprintf("%.1f", s.Rate)
		}
		ready := "-"
		if s.Desired > 0 || s.Ready > 0 {
			ready = fmt.Sprintf("%d/%d", s.Ready, s.Desired)
		}
		line(color(s.State), fmt.Sprintf("%-16s %-10s %-6s %-22s %8d %8s %9s  %s", s.Name, s.State, ready, s.Address, s.Restarts, rate, p99, firstLine(s.LastError)))
	}
	for _, s := range status.Services {
		for _, g := range s.Guarded {
			line("\x1b[33m", s.Name+": "+g)
		}
	}
	for _, s := range status.Services {
		for _, f := range s.Faults {
			line("\x1b[33m", "fault: "+f)
		}
	}
	foot := fmt.Sprintf("gateway %s   revision %d   Ctrl-C stops", status.Gateway, status.Revision)
	if more := "; stoa logs -f, stoa top, stoa trace last from another terminal"; width == 0 || len(foot+more) < width {
		foot += more
	}
	line("\x1b[2m", foot)
	return b.String(), lines
}

func color(state string) string {
	switch state {
	case workload.StateReady, workload.StateExternal:
		return "\x1b[32m"
	case workload.StateFailed, workload.StateCrashing, workload.StateDown:
		return "\x1b[31m"
	}
	return "\x1b[33m"
}
