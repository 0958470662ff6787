package command

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
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

// A view shows a person or a program how stoa dev goes on: lines and a live table on a
// terminal, lines elsewhere, one object a line with --json (an Event of the loop, or a
// notice). Its methods may be called concurrently.
type view struct {
	s   *cli.Session
	p   *app.Platform
	c   *client.Client
	dir string

	mu       sync.Mutex
	settling settling          // guarded by mu, like all below
	states   map[string]string // of services, as last told
	faults   map[string]bool   // that are injected, as last told
	guarded  map[string]string // what keeps calls from services, as last told, by service and what
	urls     bool              // whether the URLs were told
	last     workload.Status   //
	refusal  string            // of the blueprint, as last told; "" once it is taken
	table    *table            // nil without a terminal, and once it was taken away for good
}

// A notice is what the view has to say beside the events of the loop.
type notice struct {
	// Kind is note (a sentence in Text), fault or fault-over (one is injected, or no longer:
	// Text), guard or guard-over (a breaker, bound or outlier rule keeps calls from a service,
	// or no longer: Text), state (what is observed of Service has changed), up (the addresses), ready (all
	// is, after Took), stopping or stopped.
	Kind      string            `json:"kind"`
	At        core.Time         `json:"at"`
	Text      string            `json:"text,omitempty"`
	Service   *workload.Service `json:"service,omitempty"`
	Gateway   string            `json:"gateway,omitempty"`   // URL
	Admin     string            `json:"admin,omitempty"`     // URL
	Dashboard string            `json:"dashboard,omitempty"` // URL that logs in, for ten minutes
	Took      core.Duration     `json:"took,omitempty"`
}

func newView(s *cli.Session, p *app.Platform, c *client.Client, set *blueprint.Set, began time.Time) *view {
	v := &view{s: s, p: p, c: c, dir: relative(s.Dir, set.Dir), states: map[string]string{}}
	v.settling.begin(began)
	if f, ok := s.Stdout.(*os.File); ok && s.StdoutTTY && !s.JSON {
		v.table = &table{tty: f, color: s.Getenv("NO_COLOR") == ""}
	}
	return v
}

// say writes a line for a person.
func (v *view) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	v.notify(notice{Kind: "note", Text: text}, text)
}

func (v *view) notify(n notice, text string) {
	n.At = core.At(time.Now())
	v.mu.Lock()
	defer v.mu.Unlock()
	v.emit(n, text)
}

// emit writes one event: above the table on a terminal, as a line, or as JSON. mu is held.
func (v *view) emit(event any, text string) {
	if text == "" && !v.s.JSON {
		return
	}
	if v.table != nil {
		v.table.wipe()
	}
	_ = v.s.Event(event, text) // nobody reads any more: the signal that follows ends us
	v.draw()
}

// draw puts the table on the terminal, if there are both. mu is held.
func (v *view) draw() {
	if v.table != nil && len(v.last.Services) > 0 {
		v.table.draw(v.last)
	}
}

// event tells an event of the loop.
func (v *view) event(e develop.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.settling.event(e, e.At.Time)
	switch e.Kind {
	case develop.Refused:
		v.refusal = e.Text
		if len(e.Problems) > 0 {
			v.refusal = e.Problems[0].String()
		}
	case develop.Applied, develop.Mended:
		v.refusal = ""
	}
	v.emit(e, eventText(e, v.dir))
}

// refused gives why the blueprint is not in force, or "".
func (v *view) refused() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refusal
}

// eventText gives an event of the loop for a person, "" for one that need not be told.
// dir is the blueprint's folder as seen by the reader.
func eventText(e develop.Event, dir string) string {
	name := strings.TrimPrefix(e.Document, "service/")
	var b strings.Builder
	line := func(name, format string, args ...any) {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%-14s %s", name, fmt.Sprintf(format, args...))
	}
	switch e.Kind {
	case develop.BuildBegan:
		line(name, "building")
	case develop.Built:
		line(name, "built in %s", e.Took.D().Round(10*time.Millisecond))
	case develop.BuildFailed:
		line(name, "does not build: %s", strings.TrimSpace(e.Text))
	case develop.Held:
		line(name, "%s", e.Text)
	case develop.Refused:
		for _, p := range e.Problems {
			fmt.Fprintf(&b, "%s\n", p.In(dir))
		}
		fmt.Fprintf(&b, "%-14s %s", "blueprint", e.Text)
	case develop.Mended:
		switch {
		case e.Text != "":
			line("blueprint", "is good again: %s; %s", count(e.Changes, "change"), e.Text)
		case e.Changes == 0:
			line("blueprint", "is good again: nothing changed")
		default:
			line("blueprint", "is good again: %s applied", count(e.Changes, "change"))
		}
	case develop.Unwatched:
		line("files", "are not watched, so changes are not noticed: %s", e.Text)
	case develop.Watched:
		line("files", "are watched again")
	}
	if e.Hint != "" {
		line("", "%s", e.Hint)
	}
	return b.String()
}

// follow tells changes of state, and draws the table, until ctx ends.
func (v *view) follow(ctx context.Context) {
	every := 250 * time.Millisecond
	if v.table != nil {
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
		v.look(ctx)
	}
}

// look tells what is new.
func (v *view) look(ctx context.Context) {
	status, err := client.Call(ctx, v.c, workload.StatusOp, workload.StatusIn{})
	if err != nil {
		return // it is stopping
	}
	v.take(status)
}

// take tells what is new in a status.
func (v *view) take(status workload.Status) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = status
	for _, s := range status.Services {
		key := stateKey(s)
		if v.states[s.Name] == key {
			continue
		}
		v.states[s.Name] = key
		v.emit(notice{Kind: "state", At: core.At(now), Service: &s}, v.stateText(s))
	}
	v.takeFaults(status, now)
	v.takeGuarded(status, now)
	if !v.urls && status.Gateway != "" {
		v.urls = true
		link := v.p.Login(loginLife)
		at := status.Gateway
		if status.GatewayNote != "" {
			at += "  (" + status.GatewayNote + ")"
		}
		v.emit(notice{Kind: "up", At: core.At(now), Gateway: status.Gateway, Admin: status.Admin, Dashboard: link},
			fmt.Sprintf("\ngateway    %s\ndashboard  %s\n", at, link))
		if root := v.p.GatewayRoot(); root != "" {
			v.emit(notice{Kind: "root", At: core.At(now), Text: root},
				fmt.Sprintf("trust      %s\n           (the root of the development CA: curl --cacert FILE, or import it into your browser)\n", root))
		}
	}
	if v.urls {
		if took, ready := v.settling.status(status, now); ready {
			v.emit(notice{Kind: "ready", At: core.At(now), Took: core.Duration(took)}, fmt.Sprintf("all ready (%.1f s)", took.Seconds()))
		}
	}
	v.draw()
}

// takeFaults tells which faults are injected since the status before, and which no longer. mu is held.
func (v *view) takeFaults(status workload.Status, now time.Time) {
	faults := map[string]bool{}
	for _, s := range status.Services {
		for _, f := range s.Faults {
			if faults[f] = true; !v.faults[f] {
				v.emit(notice{Kind: "fault", At: core.At(now), Text: f}, fmt.Sprintf("%-14s %s", "fault", f))
			}
		}
	}
	for _, f := range slices.Sorted(maps.Keys(v.faults)) {
		if !faults[f] {
			v.emit(notice{Kind: "fault-over", At: core.At(now), Text: f}, fmt.Sprintf("%-14s is over: %s", "fault", f))
		}
	}
	v.faults = faults
}

// takeGuarded tells what keeps calls from services since the status before, and what no longer. mu is held.
func (v *view) takeGuarded(status workload.Status, now time.Time) {
	guarded := map[string]string{}
	for _, s := range status.Services {
		for _, g := range s.Guarded {
			what, _, _ := strings.Cut(g, " since ")
			key := fmt.Sprintf("%-14s %s", s.Name, what)
			if guarded[key] = g; v.guarded[key] != g {
				v.emit(notice{Kind: "guard", At: core.At(now), Text: s.Name + ": " + g}, fmt.Sprintf("%-14s %s", s.Name, g))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(v.guarded)) {
		if _, still := guarded[key]; !still {
			v.emit(notice{Kind: "guard-over", At: core.At(now), Text: key}, key+" is over")
		}
	}
	v.guarded = guarded
}

// stateKey changes when there is something new to say of a service.
func stateKey(s workload.Service) string {
	if s.State == workload.StateReady || s.State == workload.StateExternal {
		return fmt.Sprint(s.State, "|", min(s.Ready, s.Desired), "|", s.Restarts, "|", s.Address) // more are on their way out
	}
	return s.State + "|" + s.LastError
}

// stateText gives the line of a service whose state is new, "" if it need not be told: the
// table shows it, or an event of the loop has said it. mu is held.
func (v *view) stateText(s workload.Service) string {
	trouble := s.State == workload.StateFailed || s.State == workload.StateCrashing || s.State == workload.StateDown ||
		s.State == workload.StateRolling && s.LastError != ""
	if s.State == workload.StateBuilding || strings.HasPrefix(s.LastError, "does not build") || v.table != nil && !trouble {
		return ""
	}
	text := fmt.Sprintf("%-14s %s", s.Name, s.State)
	if s.State == workload.StateReady || s.State == workload.StateExternal {
		if s.Address != "" {
			text += " on " + s.Address
		}
		return text
	}
	if s.LastError != "" {
		text += ": " + s.LastError
	}
	if c, ok := v.p.Board.One(core.Ref{Kind: core.KindService, Name: s.Name}, "Ready"); s.LastError != "" && ok && c.Hint != "" {
		text += fmt.Sprintf("\n%-14s %s", "", c.Hint)
	}
	return text
}

// stopping says that the end has begun, and takes the table away for good.
func (v *view) stopping() {
	v.mu.Lock()
	if v.table != nil {
		v.table.wipe()
		v.table = nil
	}
	v.mu.Unlock()
	v.notify(notice{Kind: "stopping"}, "stopping: draining every instance")
}

func (v *view) stopped() {
	v.notify(notice{Kind: "stopped"}, "stopped; nothing is left running")
}
