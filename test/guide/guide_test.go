// Package guide does what the pages of docs/guide say, and compares.
//
// A page is a story: its blocks are carried out from the top, in a folder of their own, by
// the real binary. A block whose fence names a file (```yaml stock/stoa.yaml) becomes that
// file, or the section of it that is named too (```yaml stoa.yaml uses); if a platform follows the
// folder by then, the story goes on when it says that all is ready.
// A block that begins with "$ " is typed into bash, one command after the other, and what
// is shown below a command must be what it prints. All other blocks are for the eye.
//
// What differs from run to run is made equal on both sides before they are compared: ports,
// ids, times, durations (see equal). "..." stands for any text, on a line of its own for
// any lines. What a platform tells a moment later (traces, counts) is asked again for a while: so
// what a page shows is true soon after it was typed, and not always at once.
//
// The ports that pages name are replaced by free ones, so that stories run beside each
// other and beside a stoa dev of the developer's. Pages that need the shop and an
// hour (game days) are run by hand.
package guide

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	guide = "../../docs/guide"

	// patience is how long what a command prints may take to be what the page shows.
	patience = 90 * time.Second
)

// A page that is run.
type page struct {
	name  string
	after string // the page whose first part, up to its first section, is done before
}

var pages = []page{
	{name: "calls.md"},
	{name: "protocols.md"},
	{name: "headers.md", after: "calls.md"},
	{name: "telemetry.md", after: "calls.md"},
	{name: "browsers.md", after: "calls.md"},
	{name: "settings.md"},
	{name: "tls.md", after: "calls.md"},
}

func TestPages(t *testing.T) {
	stoa := binary(t)
	for _, p := range pages {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, stoa, p)
			if p.after != "" {
				s.play(head(read(t, p.after)))
			}
			clear(s.printed)
			s.play(read(t, p.name))
			s.keep(p.name)
		})
	}
}

// A story is a page that is being played.
type story struct {
	t      *testing.T
	home   string // above the folder in which it begins
	env    []string
	ports  map[string]string // by the one that pages name
	pinned *strings.Replacer // what a page has of the latest version, and here has a version that is known
	groups []int             // of processes that commands left in the background

	printed map[int]string // by the line of the command, for whoever writes a page
}

func begin(t *testing.T, stoa string, p page) *story {
	home := t.TempDir()
	runtime, err := os.MkdirTemp("/tmp", "sg") // the path of a socket may not be long
	if err != nil {
		t.Fatal(err)
	}
	s := &story{t: t, home: home, ports: map[string]string{}, printed: map[int]string{}}
	for _, port := range []string{"7070", "8080", "8443", "14000", "15000"} {
		s.ports[port] = freePort(t)
	}
	m := regexp.MustCompile(`google.golang.org/grpc (v[^ \n]+)`).FindStringSubmatch(read(t, "../../examples/shop/go.mod"))
	if m == nil {
		t.Fatal("the shop has no grpc")
	}
	pebble, err := filepath.Abs("../../internal/engine/certs/testdata/pebble")
	if err != nil {
		t.Fatal(err)
	}
	s.pinned = strings.NewReplacer(
		"go get google.golang.org/grpc", "go get google.golang.org/grpc@"+m[1],
		"go install github.com/letsencrypt/pebble/v2/cmd/pebble@latest", "go install -C "+pebble+" github.com/letsencrypt/pebble/v2/cmd/pebble")
	s.write(".curlrc", "silent\nshow-error\n") // as where its output is a terminal
	s.write("pwd", home)
	s.write("env", "")
	cache := goEnv(t)
	s.env = append(os.Environ(), cache...)
	s.env = append(s.env,
		"HOME="+home, "PATH="+filepath.Dir(stoa)+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"STOA_RUNTIME="+runtime,
		"STOA_ADMIN=127.0.0.1:"+s.ports["7070"], "NO_COLOR=1", "LC_ALL=C", "CGO_ENABLED=0", "GOTOOLCHAIN=local",
	)
	t.Cleanup(func() {
		if out, err := s.bash("stoa down"); err != nil && !strings.Contains(out, "no platform") {
			t.Logf("stoa down: %v\n%s", err, out)
		}
		for _, g := range s.groups {
			_ = syscall.Kill(-g, syscall.SIGKILL)
		}
		os.RemoveAll(runtime)
		if t.Failed() {
			if b, err := os.ReadFile(s.log()); err == nil {
				t.Logf("what stoa dev said:\n%s", b)
			}
		}
	})
	return s
}

// play carries out the blocks of a text.
func (s *story) play(text string) {
	s.t.Helper()
	said := int64(-1) // how long the log of the platform was when files were changed that it follows
	for _, b := range blocks(text) {
		if b.file != "" {
			if said < 0 && s.follows() {
				said = size(s.log())
			}
			s.save(b)
			continue
		}
		for _, c := range commands(b) {
			if said >= 0 {
				s.settled(said, b.line)
				said = -1
			}
			s.run(c)
		}
	}
}

// save makes the file of a block, or replaces the section of it that the block names.
func (s *story) save(b block) {
	s.t.Helper()
	name, section, part := strings.Cut(b.file, " ")
	name = filepath.Join(s.at(), name)
	text := b.text
	if part {
		whole, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatalf("line %d: %v", b.line, err)
		}
		re := regexp.MustCompile(`(?m)^` + section + `:.*\n(?:[ ].*\n)*`)
		if len(re.FindAll(whole, -1)) != 1 {
			s.t.Fatalf("line %d: %s has not one section %s:\n%s", b.line, name, section, whole)
		}
		text = re.ReplaceAllLiteralString(string(whole), section+":\n"+text)
	}
	s.write(name, s.here(text))
}

// run types a command until what it prints is what the page shows.
func (s *story) run(c command) {
	s.t.Helper()
	began, looks := time.Now(), time.NewTicker(200*time.Millisecond)
	defer looks.Stop()
	for {
		out, err := s.bash(s.here(c.text))
		diff := equal(c.shown, strings.Split(strings.TrimRight(out, "\n"), "\n"))
		if os.Getenv("GUIDE_SHOW") != "" { // for whoever writes a page
			s.t.Logf("%d: $ %s\n%s", c.line, c.text, out)
			s.printed[c.line] = strings.TrimRight(out, "\n")
			return
		}
		if diff == "" && (err == nil || len(c.shown) > 0) {
			return
		}
		if time.Since(began) > patience {
			s.t.Fatalf("line %d: $ %s\nprints (%v)\n%s\nand the page shows\n%s\n%s", c.line, c.text, err, out, strings.Join(c.shown, "\n"), diff)
		}
		<-looks.C
	}
}

// keep writes the page with what its commands printed into the folder GUIDE_SHOW: to write a
// page, leave out what is printed, and take it from there.
func (s *story) keep(name string) {
	dir := os.Getenv("GUIDE_SHOW")
	if dir == "" {
		return
	}
	var out []string
	cut := false // what the page shows below the command before
	for i, l := range strings.Split(read(s.t, name), "\n") {
		if cut && !strings.HasPrefix(l, "$ ") && !strings.HasPrefix(l, "```") {
			continue
		}
		cut = false
		out = append(out, l)
		if text, ok := s.printed[i+1]; ok && text != "" {
			out, cut = append(out, text), true
		}
	}
	s.write(filepath.Join(dir, name), strings.Join(out, "\n"))
}

// bash runs one command where the one before it ended, with what that exported.
func (s *story) bash(text string) (string, error) {
	f, err := os.CreateTemp(s.home, "out")
	if err != nil {
		s.t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	gateway := "export STOA_GATEWAY=127.0.0.1:" + s.ports["8080"]
	if b, _ := os.ReadFile(filepath.Join(s.at(), "stoa.yaml")); strings.Contains(string(b), "\n  listen: ") { // the page says where
		gateway = "unset STOA_GATEWAY"
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", `cd "$(cat "$HOME/pwd")"; . "$HOME/env"; `+gateway+"\n"+text+"\n"+
		`code=$?; pwd > "$HOME/pwd"; export -p > "$HOME/env"; exit $code`)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, f, f // a file, so that nobody waits for what stays in the background
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Run()
	if cmd.Process != nil && syscall.Kill(-cmd.Process.Pid, 0) == nil { // its group lives on
		s.groups = append(s.groups, cmd.Process.Pid)
	}
	out, readErr := os.ReadFile(f.Name())
	if readErr != nil {
		s.t.Fatal(readErr)
	}
	return string(out), err
}

// settled waits until the platform has said, after the first so many bytes, that all is ready:
// then what carries the calls follows what was changed, too.
func (s *story) settled(from int64, line int) {
	s.t.Helper()
	began, looks := time.Now(), time.NewTicker(50*time.Millisecond)
	defer looks.Stop()
	for {
		b, err := os.ReadFile(s.log())
		if err == nil && int64(len(b)) > from && regexp.MustCompile(`(?m)^(all ready|.* problems?$)`).Match(b[from:]) {
			return
		}
		if time.Since(began) > patience {
			s.t.Fatalf("before line %d: what was changed never came into force", line)
		}
		<-looks.C
	}
}

// log is what the platform in the background says.
func (s *story) log() string { return filepath.Join(s.at(), ".stoa", "dev.log") }

func (s *story) follows() bool {
	_, err := s.bash("stoa status")
	return err == nil && size(s.log()) > 0
}

func (s *story) at() string {
	b, err := os.ReadFile(filepath.Join(s.home, "pwd"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (s *story) write(name, text string) {
	s.t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(s.home, name)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

var port = regexp.MustCompile(`\b(7070|8080|8443|14000|15000)\b`)

// here puts the ports of this run into the place of those that the page names.
func (s *story) here(text string) string {
	text = port.ReplaceAllStringFunc(text, func(p string) string { return s.ports[p] })
	return s.pinned.Replace(text)
}

// A block is what stands between two fences.
type block struct {
	line       int
	file, text string
}

// blocks takes the blocks that mean something out of a page.
func blocks(text string) []block {
	var all []block
	var b *block
	var lines []string
	for i, l := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(l, "```") && b == nil:
			b, lines = &block{line: i + 2}, nil
			_, b.file, _ = strings.Cut(strings.TrimPrefix(l, "```"), " ")
		case strings.HasPrefix(l, "```"):
			b.text = strings.Join(lines, "\n") + "\n"
			if b.file != "" || strings.HasPrefix(b.text, "$ ") {
				all = append(all, *b)
			}
			b = nil
		case b != nil:
			lines = append(lines, l)
		}
	}
	return all
}

// A command is one line that is typed, and what the page shows below.
type command struct {
	line  int
	text  string
	shown []string
}

func commands(b block) []command {
	var all []command
	more := false
	for i, l := range strings.Split(strings.TrimRight(b.text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(l, "$ "):
			all = append(all, command{line: b.line + i, text: l[2:]})
		case more:
			all[len(all)-1].text += "\n" + l
		default:
			c := &all[len(all)-1]
			c.shown = append(c.shown, l)
			continue
		}
		more = strings.HasSuffix(l, `\`)
	}
	return all
}

// head is a page up to its first section.
func head(text string) string {
	h, _, _ := strings.Cut(text, "\n## ")
	return h
}

// differs is what two runs do not have in common, and what stands for it.
var differs = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT`), "DATE"},
	{regexp.MustCompile(`\b\d{4}[-/]\d\d[-/]\d\d\b`), "DATE"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d(\.\d+)?\b`), "CLOCK"},
	{regexp.MustCompile(`\b([0-9a-f]{32}|[0-9a-f]{16})\b`), "ID"},
	{regexp.MustCompile(`trace=[0-9a-f]{8}\b`), "trace=ID"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|ms|s|m)\b`), "TIME"},
	{regexp.MustCompile(`\b(7070|8080|8443|14000|15000|[2-6]\d{4})\b`), "PORT"},
	{regexp.MustCompile(`\b\d+(\.\d+)?[eE][-+]?\d+\b|\b\d+\.\d{3,}\b`), "FLOAT"},
	{regexp.MustCompile(`/[^ ]*/data\b`), "DATA"},
	{regexp.MustCompile(`/[^ ]*\.stoa\b`), "DATA"},
	{regexp.MustCompile(`(^|[ ,])\d+\.\d(%|/s)?([ ,\r]|$)`), "${1}RATE$3"},
	{regexp.MustCompile(`Stoa-Timeout-Ms: \d+`), "Stoa-Timeout-Ms: N"},
	{regexp.MustCompile(`[━·]+`), "BAR"},
	{regexp.MustCompile(`[-─]{5,}`), "RULE"},
	{regexp.MustCompile(`(?i)(age|ttl)([=:]) ?-?\d+`), "${1}${2}N"},
	{regexp.MustCompile(`\s+`), " "},
}

func same(line string) string {
	for _, d := range differs {
		line = d.re.ReplaceAllString(line, d.by)
	}
	return strings.TrimSpace(line)
}

// equal says where shown and printed are not the same, "" if they are.
func equal(shown, printed []string) string {
	if len(shown) == 0 {
		return "" // the page shows nothing: what is printed is of no interest
	}
	var re strings.Builder
	re.WriteString(`\A`)
	for _, l := range shown {
		if strings.TrimSpace(l) == "..." {
			re.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(l, "...")
		for i, p := range parts {
			if i > 0 {
				re.WriteString(`.*`)
			}
			p = same(p)
			re.WriteString(`\s*` + regexp.QuoteMeta(p) + `\s*?`)
		}
		re.WriteString(`\n`)
	}
	re.WriteString(`\z`)
	var all strings.Builder
	for _, l := range printed {
		all.WriteString(same(l) + "\n")
	}
	if regexp.MustCompile(re.String()).MatchString(all.String()) {
		return ""
	}
	return "which was compared as\n" + all.String() + "with\n" + re.String()
}

// freePort finds a port outside of the range from which the kernel takes those of calls.
func freePort(t *testing.T) string {
	for range 100 {
		p := strconv.Itoa(20000 + rand.IntN(12000))
		l, err := net.Listen("tcp", "127.0.0.1:"+p)
		if err == nil {
			l.Close()
			return p
		}
	}
	t.Fatal("no free port in 20000-32000")
	return ""
}

var goEnv = func() func(t *testing.T) []string {
	get := sync.OnceValues(func() ([]string, error) {
		names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOPATH", "GOSUMDB", "GONOSUMDB"}
		out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
		values := strings.Split(string(out), "\n")
		for i, n := range names {
			names[i] = n + "=" + values[i]
		}
		return names, err
	})
	return func(t *testing.T) []string {
		vars, err := get()
		if err != nil {
			t.Fatal(err)
		}
		return vars
	}
}()

// binary is the real one, in a folder in which nothing else is.
func binary(t *testing.T) string {
	bin := filepath.Join(t.TempDir(), "stoa")
	if made := os.Getenv("STOA_BIN"); made != "" {
		if err := os.Symlink(made, bin); err != nil {
			t.Fatal(err)
		}
		return bin
	}
	cmd := exec.Command("go", "build", "-o", bin, "stoa/cmd/stoa")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

func read(t *testing.T, name string) string {
	b, err := os.ReadFile(filepath.Join(guide, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func size(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}

// The page of what is seen names every series that the data plane has, and no other.
func TestPageNamesEverySeries(t *testing.T) {
	declared, named := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("../../internal/engine/flow/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:Name: |gauge\()"stoa_proxy_([a-z_]+)"`).FindAllSubmatch(b, -1) {
			declared[string(m[1])] = true
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z_]+`(?:, `[a-z_]+`)*) \\|").FindAllStringSubmatch(read(t, "telemetry.md"), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			named[strings.Trim(name, "`")] = true
		}
	}
	if len(declared) < 20 || !maps.Equal(declared, named) {
		t.Errorf("declared %v\nnamed    %v", slices.Sorted(maps.Keys(declared)), slices.Sorted(maps.Keys(named)))
	}
}
