// Command proxy measures Stoa's data plane beside its peers and writes what it found: the
// part of bench/RESULTS.md between its marks, and all samples as JSON. Run bench/proxy/run.
//
//	wrk, h2load, steady ──▶ one proxy, alone on a core ──▶ answers (nginx), answer (gRPC)
//	└──────────────── the load and the back end share the other core ────────────────┘
//
// All peers run all the time and idle but for the one that is measured. Within each
// repeat every cell (a protocol, a number of connections, a size) is measured for every
// peer, one after the other, beginning with another one each time; so that what the machine does
// meanwhile hits all, and a ratio within one repeat (paired) says more than one of medians.
//
// A sample is cut from the middle of a run, when connections stand and are warm: CPU from
// /proc of every process of the proxy, requests from the back end's own counter over the
// same span. A sample counts only if all answers were 2xx, if the client has as many as
// the back end gave, and if the rest of the machine was quiet; else it is taken again, up to
// three times, and then left out of the figures.
//
// It asserts nothing of the figures: they are for people to compare.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	Repeats  int           `json:"repeats"`
	Span     time.Duration `json:"span"`
	Latency  time.Duration `json:"latency"`
	Rate     int           `json:"rate"`
	Idle     int           `json:"idle"`
	Million  int64         `json:"million"`
	Noise    float64       `json:"noise"`
	ProxyCPU int           `json:"proxyCPU"`
	LoadCPU  int           `json:"loadCPU"`

	peers, cells      string
	quick, every      bool
	data, page, from  string
	installOnly, keep bool
	profile           string
}

func main() {
	var o options
	flag.IntVar(&o.Repeats, "repeats", 6, "how often everything is measured")
	flag.DurationVar(&o.Span, "time", 3*time.Second, "how long a sample is")
	flag.DurationVar(&o.Latency, "latency", 8*time.Second, "how long latency is measured; 0: not at all")
	flag.IntVar(&o.Rate, "rate", 0, "requests a second while latency is measured; 0: half of what the slowest peer could do")
	flag.IntVar(&o.Idle, "idle", 2000, "idle connections that are held; 0: not at all")
	flag.Int64Var(&o.Million, "million", 1_000_000, "requests over which memory is watched; 0: not at all")
	flag.Float64Var(&o.Noise, "noise", 0.05, "the share of the machine that others may use during a sample")
	flag.IntVar(&o.ProxyCPU, "proxy-cpu", 1, "the proxy's core")
	flag.IntVar(&o.LoadCPU, "load-cpu", 0, "the core of load and back end")
	flag.StringVar(&o.peers, "peers", "", "only these, comma-separated; default: "+strings.Join(defaultPeers, ","))
	flag.StringVar(&o.cells, "cells", "", "only the cells that this expression matches, as in ^h1/64/")
	flag.BoolVar(&o.every, "every", false, "all combinations of connections and sizes, not only the cross through 64 and 100 B")
	flag.BoolVar(&o.quick, "quick", false, "two repeats of few and short cells: proves that all works, measures little")
	flag.StringVar(&o.data, "json", "", "where samples go; default bench/proxy/results.json, nowhere for a part of a run")
	flag.StringVar(&o.page, "page", "", "the page with the marks; default bench/RESULTS.md, nowhere for a part of a run")
	flag.StringVar(&o.from, "from", "", "measure nothing: print what this JSON says, and write it to -page; -noise may differ")
	flag.StringVar(&o.profile, "profile", "", "afterwards, a CPU profile of Stoa under the load of every cell goes to files in this folder")
	flag.BoolVar(&o.installOnly, "install", false, "only install what is missing")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder with configurations and logs")
	flag.Parse()
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-proxy:", err)
		os.Exit(1)
	}
}

func run(o *options) error {
	if o.from != "" {
		b, err := os.ReadFile(o.from)
		if err != nil {
			return err
		}
		var r result
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%s: %w", o.from, err)
		}
		if given("noise") {
			r.Options.Noise = o.Noise
		}
		return publish(&r, "", o.page)
	}
	if o.quick {
		o.Repeats = unlessGiven("repeats", o.Repeats, 2)
		o.Span = unlessGiven("time", o.Span, time.Second)
		o.Latency = unlessGiven("latency", o.Latency, 2*time.Second)
		o.Idle = unlessGiven("idle", o.Idle, 500)
		o.Million = unlessGiven("million", o.Million, 0)
	} else if o.peers == "" && o.cells == "" { // a part does not take the place of the whole
		if o.data == "" {
			o.data = filepath.Join("bench", "proxy", "results.json")
		}
		if o.page == "" {
			o.page = filepath.Join("bench", "RESULTS.md")
		}
	}
	only, err := regexp.Compile(o.cells)
	if err != nil {
		return fmt.Errorf("-cells: %w", err)
	}
	peers, err := choosePeers(o.peers)
	if err != nil {
		return err
	}
	if err := install(peers); err != nil || o.installOnly {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-proxy")
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "configurations and logs:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	b := &bench{o: o, dir: dir, peers: peers, cells: choose(o, only)}
	stopped := make(chan os.Signal, 1) // the first is enough
	// A closed pipe too: who no longer listens has left, and proxies must not stay behind.
	signal.Notify(stopped, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	b.stopped = stopped
	defer b.stop()
	if err := b.start(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "measuring %d cells of %d peers, %d times: about %s, if the machine is calm\n", len(b.cells), len(b.peers), o.Repeats, b.estimate().Round(10*time.Second))
	err = b.measureAll()
	if err == nil && o.profile != "" {
		err = b.profiles()
	}
	if errors.Is(err, errStopped) && len(b.result.Samples) > 0 {
		fmt.Print(b.result.markdown())
	}
	if err != nil {
		return err
	}
	return publish(&b.result, o.data, o.page)
}

// given says whether the user has set a flag.
func given(name string) (yes bool) {
	flag.Visit(func(f *flag.Flag) { yes = yes || f.Name == name })
	return yes
}

// unlessGiven is what a quick run has in place of a default.
func unlessGiven[T any](name string, now, quick T) T {
	if given(name) {
		return now
	}
	return quick
}

// publish prints the page's part, and writes JSON and page where they are wanted.
func publish(r *result, data, page string) error {
	part := r.markdown()
	fmt.Print(part)
	if data != "" {
		if err := r.save(data); err != nil {
			return err
		}
	}
	if page == "" {
		return nil
	}
	b, err := os.ReadFile(page)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(page, []byte(insert(string(b), part)), 0o644)
}

// save writes all samples.
func (r *result) save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// The marks of the part of the page that is ours.
const (
	markBegin = "<!-- bench-proxy -->\n"
	markEnd   = "<!-- /bench-proxy -->\n"
)

// insert puts part between the marks of page, or at its end if it has none.
func insert(page, part string) string {
	before, rest, ok := strings.Cut(page, markBegin)
	after := ""
	if ok {
		_, after, _ = strings.Cut(rest, markEnd)
	} else if before != "" {
		before = strings.TrimRight(before, "\n") + "\n\n"
	}
	return before + markBegin + part + markEnd + after
}
