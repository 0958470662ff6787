package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// answers is what a load tool says at its end.
type answers struct {
	done  int64 // answered with 2xx
	wrong int64 // anything else: other status, broken connection, time-out
	text  string
}

// load is a running load tool.
type load struct {
	cmd   *exec.Cmd
	out   strings.Builder
	parse func(string) (answers, error)
}

// loadFor gives the tool that asks for a cell at a port, not yet started. It runs for span,
// rounded up to whole seconds, which is all that wrk understands.
func (b *bench) loadFor(c cell, port int, span time.Duration) *load {
	seconds := strconv.Itoa(int(math.Ceil(span.Seconds())))
	l := &load{}
	var args []string
	switch c.proto {
	case "h1", "tls":
		scheme := map[string]string{"h1": "http", "tls": "https"}[c.proto]
		args = []string{"wrk", "-t1", "-c" + strconv.Itoa(c.conns), "-d" + seconds + "s", "--timeout", "10s",
			fmt.Sprintf("%s://127.0.0.1:%d/%s", scheme, port, c.size)}
		l.parse = parseWrk
	case "h2", "grpc":
		args = []string{"h2load", "-t1", "-D", seconds, "-c", strconv.Itoa(c.sockets()), "-m", strconv.Itoa(c.streams)}
		if c.proto == "h2" {
			args = append(args, fmt.Sprintf("https://127.0.0.1:%d/%s", port, c.size))
		} else {
			args = append(args, "-d", filepath.Join(b.dir, "message"), "-H", "content-type: application/grpc", "-H", "te: trailers",
				fmt.Sprintf("http://127.0.0.1:%d/bench.Echo/Unary", port))
		}
		l.parse = parseH2load
	}
	l.cmd = b.pinned(args...)
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.out
	return l
}

// pinned is a command on the core of the load.
func (b *bench) pinned(args ...string) *exec.Cmd {
	return exec.Command("taskset", append([]string{"-c", strconv.Itoa(b.o.LoadCPU)}, args...)...)
}

// wait waits for the tool to end and reads what it says.
func (l *load) wait() (answers, error) {
	if err := l.cmd.Wait(); err != nil {
		return answers{}, fmt.Errorf("%s: %w: %s", l.cmd.Args[3], err, l.out.String())
	}
	a, err := l.parse(l.out.String())
	if err != nil {
		return a, fmt.Errorf("%s: %w: %s", l.cmd.Args[3], err, l.out.String())
	}
	return a, nil
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in `)
	wrkStatus   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkSockets  = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	h2Requests  = regexp.MustCompile(`requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2Status    = regexp.MustCompile(`status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)
)

// numbers are the groups of the first match, nil if there is none.
func numbers(re *regexp.Regexp, s string) (n []int64) {
	m := re.FindStringSubmatch(s)
	for _, g := range m[min(1, len(m)):] {
		v, _ := strconv.ParseInt(g, 10, 64)
		n = append(n, v)
	}
	return n
}

func parseWrk(s string) (a answers, err error) {
	n := numbers(wrkRequests, s)
	if n == nil {
		return a, errors.New("says no number of requests")
	}
	for _, v := range append(numbers(wrkStatus, s), numbers(wrkSockets, s)...) {
		a.wrong += v
	}
	a.done = n[0] - a.wrong
	if a.wrong > 0 {
		a.text = wrkSockets.FindString(s) + " " + wrkStatus.FindString(s)
	}
	return a, nil
}

func parseH2load(s string) (a answers, err error) {
	n, codes := numbers(h2Requests, s), numbers(h2Status, s)
	if n == nil || codes == nil {
		return a, errors.New("says no number of requests")
	}
	a.done = codes[0]
	a.wrong = n[4] + n[5] + n[6] + codes[1] + codes[2] + codes[3]
	if a.wrong > 0 {
		a.text = h2Requests.FindString(s) + "; " + h2Status.FindString(s)
	}
	return a, nil
}

// message writes the gRPC message that is sent: a prefix of five bytes, and a hundred.
func message(dir string) error {
	m := append(binary.BigEndian.AppendUint32([]byte{0}, 100), make([]byte, 100)...)
	return os.WriteFile(filepath.Join(dir, "message"), m, 0o644)
}

// delays is what steady tells; see its report. Times are in microseconds.
type delays struct {
	Rate     int     `json:"rate"`
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Error    string  `json:"error,omitempty"`
	P50      float64 `json:"p50"`
	P90      float64 `json:"p90"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
	Max      float64 `json:"max"`
	LateP99  float64 `json:"lateP99"`
}

// steady asks for 100 B over 64 connections at a constant rate.
func (b *bench) steady(port, rate int) (*exec.Cmd, func() (delays, error)) {
	cmd := b.pinned(ours("steady")(), "-addr", local(port), "-path", "/100", "-rate", strconv.Itoa(rate), "-conns", "64", "-time", b.o.Latency.String())
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	return cmd, func() (d delays, err error) {
		if err := cmd.Wait(); err != nil {
			return d, fmt.Errorf("steady: %w: %s", err, errs.String())
		}
		return d, json.Unmarshal([]byte(out.String()), &d)
	}
}
