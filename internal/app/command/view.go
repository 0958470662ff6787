package command

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/client"
	"stoa/internal/app"
	"stoa/internal/app/develop"
	"stoa/internal/door/cli"
	"stoa/internal/kernel/blueprint"
)

// loginLife is how long the link that stoa dev prints may be used.
const loginLife = 10 * time.Minute

// A view shows a person or a program how stoa dev goes on: a live table on a terminal,
// plain lines elsewhere, one object a line with --json. Its methods may be called
// concurrently.
type view struct{ *screen }

type screen struct {
	s   *cli.Session
	p   *app.Platform
	c   *client.Client
	dir string
	tty *os.File // nil without a terminal

	mu     sync.Mutex
	states map[string]string // of services, as last told; guarded by mu
	drawn  int               // lines of the table on the terminal; guarded by mu
	urls   bool              // whether the URLs were told; guarded by mu
	last   workload.Status   // guarded by mu
	closed bool              // no table any more; guarded by mu
}

func newView(s *cli.Session, p *app.Platform, c *client.Client, set *blueprint.Set) view {
	v := &screen{s: s, p: p, c: c, dir: relative(s.Dir, set.Dir), states: map[string]string{}}
	if f, ok := s.Stdout.(*os.File); ok && s.StdoutTTY && !s.JSON {
		v.tty = f
	}
	return view{v}
}

// say writes a line for a person.
func (v *screen) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	v.emit(map[string]any{"kind": "note", "text": text}, text)
}

// emit writes one event: above the table on a terminal, as a line, or as JSON.
func (v *screen) emit(event any, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wipe()
	if text != "" || v.s.JSON {
		_ = v.s.Event(event, text) // nobody reads any more: the signal that follows ends us
	}
	v.draw()
}

// event tells an event of the loop.
func (v *screen) event(e develop.Event) {
	name := strings.TrimPrefix(e.Document, "service/")
	text := ""
	switch e.Kind {
	case develop.BuildBegan:
		text = fmt.Sprintf("%-14s building", name)
	case develop.Built:
		text = fmt.Sprintf("%-14s built in %s", name, e.Took.D().Round(10*time.Millisecond))
	case develop.BuildFailed:
		text = fmt.Sprintf("%-14s does not build: %s", name, strings.TrimSpace(e.Text))
	case develop.Refused:
		var b strings.Builder
		for _, p := range e.Problems {
			fmt.Fprintln(&b, p.In(v.dir))
		}
		fmt.Fprintf(&b, "%-14s %s", "blueprint", e.Text)
		text = b.String()
	}
	v.emit(e, text)
}

// follow tells changes of state, and draws the table, until ctx ends.
func (v *screen) follow(ctx context.Context) {
	every := 250 * time.Millisecond
	if v.tty != nil {
		every = 500 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		status, err := client.Call(ctx, v.c, workload.StatusOp, workload.StatusIn{})
		if err != nil {
			continue // it is stopping
		}
		v.take(status)
	}
}

// take tells what is new in a status.
func (v *screen) take(status workload.Status) {
	v.mu.Lock()
	var changed []workload.Service
	for _, s := range status.Services {
		key := s.State + "|" + s.LastError
		if s.State == workload.StateReady || s.State == workload.StateExternal {
			key = s.State + "|" + fmt.Sprint(s.Ready, s.Restarts) + s.LastError
		}
		if v.states[s.Name] != key {
			v.states[s.Name] = key
			changed = append(changed, s)
		}
	}
	first := !v.urls && status.Gateway != ""
	v.urls = v.urls || first
	v.last = status
	v.mu.Unlock()
	if v.tty == nil {
		for _, s := range changed {
			v.emit(map[string]any{"kind": "state", "service": s}, stateLine(s))
		}
	}
	if first {
		link := v.p.Login(loginLife)
		v.emit(map[string]any{"kind": "up", "gateway": status.Gateway, "admin": status.Admin, "dashboard": link},
			fmt.Sprintf("\ngateway    %s\ndashboard  %s\n", status.Gateway, link))
		return
	}
	if v.tty != nil {
		v.mu.Lock()
		v.wipe()
		v.draw()
		v.mu.Unlock()
	}
}

func stateLine(s workload.Service) string {
	text := fmt.Sprintf("%-14s %s", s.Name, s.State)
	if s.Address != "" {
		text += " on " + s.Address
	}
	if s.LastError != "" {
		text += ": " + s.LastError
	}
	return text
}

// wipe takes the table off the terminal. mu is held.
func (v *screen) wipe() {
	if v.drawn > 0 {
		fmt.Fprintf(v.tty, "\x1b[%dA\x1b[J", v.drawn)
		v.drawn = 0
	}
}

// draw puts the table on the terminal. mu is held.
func (v *screen) draw() {
	if v.tty == nil || v.closed || len(v.last.Services) == 0 {
		return
	}
	width := termWidth(v.tty)
	var b strings.Builder
	line := func(color, text string) {
		if r := []rune(text); len(r) >= width && width > 1 {
			text = string(r[:width-1])
		}
		if color != "" && v.s.Getenv("NO_COLOR") == "" {
			text = color + text + "\x1b[0m"
		}
		b.WriteString(text + "\n")
		v.drawn++
	}
	line("", "")
	line("\x1b[2m", fmt.Sprintf("%-16s %-10s %-6s %-22s %8s %8s %9s  %s", "SERVICE", "STATE", "READY", "ADDRESS", "RESTARTS", "REQ/S", "P99", "LAST ERROR"))
	for _, s := range v.last.Services {
		p99, rate := "-", "-"
		if s.Rate > 0 {
			p99, rate = fmt.Sprintf("%.1fms", s.P99Millis), fmt.Sprintf("%.1f", s.Rate)
		}
		ready := "-"
		if s.Desired > 0 || s.Ready > 0 {
			ready = fmt.Sprintf("%d/%d", s.Ready, s.Desired)
		}
		last, _, _ := strings.Cut(s.LastError, "\n")
		line(color(s.State), fmt.Sprintf("%-16s %-10s %-6s %-22s %8d %8s %9s  %s", s.Name, s.State, ready, s.Address, s.Restarts, rate, p99, last))
	}
	line("\x1b[2m", fmt.Sprintf("gateway %s   revision %d   Ctrl-C stops; stoa logs -f, stoa top, stoa trace last from another terminal", v.last.Gateway, v.last.Revision))
	fmt.Fprint(v.tty, b.String())
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

// stopping says that the end has begun, and takes the table away for good.
func (v *screen) stopping() {
	v.mu.Lock()
	v.wipe()
	v.closed = true
	v.mu.Unlock()
	v.emit(map[string]any{"kind": "stopping", "at": core.At(time.Now())}, "stopping: draining every instance")
}

func (v *screen) stopped() {
	v.emit(map[string]any{"kind": "stopped", "at": core.At(time.Now())}, "stopped; nothing is left running")
}
