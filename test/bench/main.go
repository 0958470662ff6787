// Command bench measures what bench/RESULTS.md promises, on the real binary, and writes
// that page. It asserts nothing: figures are for people to compare.
//
//	go run ./test/bench -stoa bin/stoa -out bench/RESULTS.md
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stoa/api/workload"
)

var (
	stoaBin = flag.String("stoa", "bin/stoa", "the binary")
	out     = flag.String("out", "bench/RESULTS.md", "the page to write")
	shop    = flag.String("shop", "examples/shop", "the reference system")
	idle    = flag.Duration("idle", 60*time.Second, "how long idle CPU is measured")
	only    = flag.String("only", "", "measure only what this expression matches")
)

// A figure is one row of the page, with the load of the machine when it was taken.
type figure struct{ name, goal, got, load string }

func main() {
	flag.Parse()
	b := &bench{}
	for _, m := range []struct {
		name string
		run  func()
	}{
		{"shop", b.shop}, {"change", b.change}, {"plan", b.plan}, {"journal", b.journal}, {"overload", b.overload}, {"first build", b.firstBuild},
	} {
		if ok, err := regexp.MatchString(*only, m.name); err != nil || !ok {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring", m.name)
		m.run()
	}
	page := b.page()
	fmt.Print(page)
	if *only == "" {
		check(os.WriteFile(*out, []byte(keep(page)), 0o644))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct{ figures []figure }

func (b *bench) add(name, goal, format string, args ...any) {
	b.figures = append(b.figures, figure{name, goal, fmt.Sprintf(format, args...), loadAverage()})
}

// page writes the figures, with what a reader needs to judge them.
func (b *bench) page() string {
	var s strings.Builder
	s.WriteString("# What was measured\n\nWritten by `make bench`. Machines differ and this one is shared: compare ratios and CPU seconds, not absolutes.\n\n")
	fmt.Fprintf(&s, "%s, %s, %d cores (%s), %s. The last column is the load average of the last minute when the figure was taken.\n\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.Version(), runtime.NumCPU(), cpuModel(), kernel())
	s.WriteString("| what | goal | measured | load |\n|---|---|---|---|\n")
	for _, f := range b.figures {
		fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", f.name, f.goal, f.got, f.load)
	}
	return s.String()
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

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(b))[:1], "")
}

// A platform is a running stoa.
type platform struct {
	data, runtime string
	cmd           *exec.Cmd
	gateway       string
}

func start(args ...string) *platform {
	dir, err := os.MkdirTemp("/tmp", "sb")
	check(err)
	p := &platform{data: filepath.Join(dir, "data"), runtime: filepath.Join(dir, "run")}
	check(os.Mkdir(p.runtime, 0o700))
	p.begin(args...)
	return p
}

func (p *platform) begin(args ...string) {
	p.cmd = exec.Command(*stoaBin, append(args, "--data", p.data, "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0")...)
	p.cmd.Env = append(os.Environ(), "STOA_RUNTIME="+p.runtime)
	p.cmd.Stderr = os.Stderr
	check(p.cmd.Start())
}

func (p *platform) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	_ = p.cmd.Wait()
}

func (p *platform) stoa(args ...string) (string, error) {
	cmd := exec.Command(*stoaBin, append(args, "--data", p.data)...)
	cmd.Env = append(os.Environ(), "STOA_RUNTIME="+p.runtime)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	o, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("stoa %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(o), err
}

// ready waits until every service is ready.
func (p *platform) ready() workload.Status {
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		o, err := p.stoa("status", "--json")
		var s workload.Status
		if err != nil || json.Unmarshal([]byte(o), &s) != nil || len(s.Services) == 0 || s.Gateway == "" {
			continue
		}
		if !slices.ContainsFunc(s.Services, func(v workload.Service) bool {
			return v.State != workload.StateReady && v.State != workload.StateExternal && v.State != workload.StateDown
		}) {
			p.gateway = s.Gateway
			return s
		}
	}
	check(fmt.Errorf("not ready within ten minutes"))
	return workload.Status{}
}

// child gives the platform's process, below its parent.
func (p *platform) child() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.cmd.Process.Pid, p.cmd.Process.Pid))
	check(err)
	pid, err := strconv.Atoi(strings.Fields(string(b))[0])
	check(err)
	return pid
}

// memory gives resident and private dirty memory of a process, in MB.
func memory(pid int) (rss, private float64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "Rss:":
			rss = kb / 1000
		case "Private_Dirty:":
			private = kb / 1000
		}
	}
	return rss, private
}

// cpu gives the CPU seconds that a process has used.
func cpu(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(err)
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100
}

// shop measures the start of the built shop, and what Stoa needs while it runs.
func (b *bench) shop() {
	p := start("dev", *shop, "--no-watch")
	p.ready() // builds
	p.stop()
	var starts []time.Duration
	for range 5 {
		began := time.Now()
		p.begin("dev", *shop, "--no-watch")
		p.ready()
		starts = append(starts, time.Since(began))
		p.stop()
	}
	slices.Sort(starts)
	b.add("cold start: built binary and built shop (7 services, a migration) to all ready", "under 3 s", "%.2f s [%.2f-%.2f], n = %d", starts[2].Seconds(), starts[0].Seconds(), starts[4].Seconds(), len(starts))

	p.begin("dev", *shop)
	s := p.ready()
	time.Sleep(5 * time.Second) // let the start settle
	child := p.child()
	before := cpu(child) + cpu(p.cmd.Process.Pid)
	time.Sleep(*idle)
	used := cpu(child) + cpu(p.cmd.Process.Pid) - before
	rss, private := memory(child)
	prss, pprivate := memory(p.cmd.Process.Pid)
	var shims float64
	for _, pid := range children(child) {
		_, dirty := memory(pid)
		shims += dirty
	}
	b.add("idle memory of Stoa with the shop running, resident", "under 80 MB", "platform %.0f MB (%.0f private), its parent %.0f MB (%.1f private), %d shims %.1f MB private together", rss, private, prss, pprivate, len(s.Services), shims)
	b.add("idle CPU of Stoa with the shop running, watching files, showing a view", "under 1 % of a core", "%.2f %% over %s", 100*used/idle.Seconds(), *idle)
	p.stop()
	_ = os.RemoveAll(filepath.Dir(p.data))
}

func children(pid int) []int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		if t != fmt.Sprintf("/proc/%d/task/%d/children", pid, pid) {
			more, _ := os.ReadFile(t)
			b = append(append(b, ' '), more...)
		}
	}
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		n, _ := strconv.Atoi(f)
		pids = append(pids, n)
	}
	return pids
}

// changes is how often a change is made and looked for.
const changes = 100

// change measures how soon callers see a route that an apply has moved: from the apply's
// commit to the first answer that follows it.
func (b *bench) change() {
	p := start("server")
	dir := filepath.Dir(p.data)
	answer := func(text string) (addr string, stop func()) {
		l := listen()
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })}
		go s.Serve(l)
		return l.Addr().String(), func() { s.Close() }
	}
	a, stopA := answer("a")
	defer stopA()
	z, stopZ := answer("z")
	defer stopZ()
	apply := func(to string) {
		text := fmt.Sprintf("kind: System\nname: s\n---\nkind: Service\nname: a\nrun: {external: [%q]}\n%s---\nkind: Service\nname: z\nrun: {external: [%q]}\n%s", a, expose(to == "a"), z, expose(to == "z"))
		check(os.WriteFile(filepath.Join(dir, "stoa.yaml"), []byte(text), 0o600))
		_, err := p.stoa("apply", dir)
		check(err)
	}
	for {
		if _, err := p.stoa("status"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	apply("a")
	p.ready()
	var seen []time.Duration
	for i := range changes {
		to := []string{"z", "a"}[i%2]
		stop, first := make(chan struct{}), make(chan time.Time, 1)
		go func() { // looks all the time, so that the moment is caught
			for {
				select {
				case <-stop:
					return
				default:
				}
				if get(p.gateway) == to {
					first <- time.Now()
					return
				}
			}
		}()
		apply(to)
		committed := p.committed()
		select {
		case at := <-first:
			seen = append(seen, max(0, at.Sub(committed)))
		case <-time.After(time.Minute):
			close(stop)
			check(fmt.Errorf("a change was not seen within a minute"))
		}
	}
	slices.Sort(seen)
	b.add(fmt.Sprintf("a change visible to callers: commit of an apply to the first answer by it, %d changes", changes), "p99 at most 50 ms",
		"p50 %.0f ms, p99 %.0f ms, most %.0f ms", ms(seen[len(seen)/2]), ms(seen[len(seen)*99/100]), ms(seen[len(seen)-1]))
	p.stop()
	_ = os.RemoveAll(dir)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func expose(yes bool) string {
	if yes {
		return "expose: [{path: /}]\n"
	}
	return ""
}

// committed gives when the last revision was committed, to the millisecond.
func (p *platform) committed() time.Time {
	o, err := p.stoa("history", "--json", "--limit", "1")
	check(err)
	var h struct {
		Revisions []struct {
			At time.Time `json:"at"`
		} `json:"revisions"`
	}
	check(json.Unmarshal([]byte(o), &h))
	return h.Revisions[0].At
}

func get(url string) string {
	resp, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// plan measures a plan of a thousand services, as a person runs it.
func (b *bench) plan() {
	p := start("server")
	dir := filepath.Dir(p.data)
	write := func(port int) {
		var s strings.Builder
		s.WriteString("kind: System\nname: s\n")
		for i := range 1000 {
			fmt.Fprintf(&s, "---\nkind: Service\nname: s%d\nrun: {external: [\"127.0.0.1:%d\"]}\nexpose: [{path: /s%d}]\nenv: {A: \"%d\"}\n", i, port, i, i)
			if i > 0 {
				fmt.Fprintf(&s, "uses: [{service: s%d}]\n", i-1)
			}
		}
		check(os.WriteFile(filepath.Join(dir, "stoa.yaml"), []byte(s.String()), 0o600))
	}
	for {
		if _, err := p.stoa("status"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	write(1)
	_, err := p.stoa("apply", dir)
	check(err)
	write(2) // every service changes
	var took []time.Duration
	for range 5 {
		began := time.Now()
		_, err := p.stoa("plan", dir)
		check(err)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.add("`stoa plan` of 1,000 services that all change: reading, checking, planning, printing", "under 1 s", "%.2f s [%.2f-%.2f], n = %d", took[2].Seconds(), took[0].Seconds(), took[4].Seconds(), len(took))
	p.stop()
	_ = os.RemoveAll(dir)
}

var benchLine = regexp.MustCompile(`(?m)^BenchmarkAppend\S*\s.*$`)

// journal runs the store's own benchmarks.
func (b *bench) journal() {
	o, err := exec.Command("go", "test", "-run", "^$", "-bench", "Append", "-benchtime", "2s", "./internal/engine/pebblestore").Output()
	check(err)
	for _, line := range benchLine.FindAllString(string(o), -1) {
		f := strings.Fields(line)
		b.add("journal, synced: `"+f[0]+"`", "20,000 items/s at 64 waiters", "%s", strings.Join(f[2:], " "))
	}
}

// firstBuild runs the script that CI runs.
func (b *bench) firstBuild() {
	o, err := exec.Command("test/first-build").CombinedOutput()
	check(err)
	b.add("first build, empty cache: stoa and the shop", "under 3 minutes", "%s", strings.Join(strings.FieldsFunc(strings.TrimSpace(string(o)), func(r rune) bool { return r == '\n' }), "; "))
}

// keep adds to a page the part that make bench-proxy has written between its marks.
func keep(page string) string {
	was, err := os.ReadFile(*out)
	if err != nil {
		return page // there is none yet
	}
	if _, part, ok := strings.Cut(string(was), "<!-- bench-proxy -->\n"); ok {
		page = strings.TrimRight(page, "\n") + "\n\n<!-- bench-proxy -->\n" + part
	}
	return page
}
