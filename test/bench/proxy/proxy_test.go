package main

import (
	"strings"
	"testing"
	"time"
)

const wrkSays = `Running 5s test @ http://127.0.0.1:21006/100
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.51ms    1.20ms  31.24ms   91.20%
    Req/Sec    25.88k     2.30k   30.10k    72.00%
  128790 requests in 5.00s, 30.34MB read
`

const h2loadSays = `finished in 5.00s, 26010.20 req/s, 4.31MB/s
requests: 130051 total, 130115 started, 130051 done, 130051 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 130051 2xx, 0 3xx, 0 4xx, 0 5xx
`

// What a load tool says is counted as answers and as what went wrong.
func TestLoadToolsAreRead(t *testing.T) {
	for _, c := range []struct {
		name        string
		parse       func(string) (answers, error)
		says        string
		done, wrong int64
	}{
		{"wrk, all well", parseWrk, wrkSays, 128790, 0},
		{"wrk, other statuses", parseWrk, wrkSays + "  Non-2xx or 3xx responses: 790\n", 128000, 790},
		{"wrk, broken connections", parseWrk, wrkSays + "  Socket errors: connect 1, read 20, write 300, timeout 4000\n", 124469, 4321},
		{"h2load, all well", parseH2load, h2loadSays, 130051, 0},
		{"h2load, a status of 502", parseH2load, strings.Replace(h2loadSays, "130051 2xx, 0 3xx, 0 4xx, 0 5xx", "130000 2xx, 0 3xx, 0 4xx, 51 5xx", 1), 130000, 51},
		{"h2load, errors", parseH2load, strings.Replace(h2loadSays, "0 failed, 0 errored", "3 failed, 2 errored", 1), 130051, 5},
	} {
		got, err := c.parse(c.says)
		if err != nil || got.done != c.done || got.wrong != c.wrong {
			t.Errorf("%s: got %d done, %d wrong, %v; want %d, %d", c.name, got.done, got.wrong, err, c.done, c.wrong)
		}
		if (got.wrong > 0) != (got.text != "") {
			t.Errorf("%s: %d wrong, and says %q", c.name, got.wrong, got.text)
		}
	}
	for _, parse := range []func(string) (answers, error){parseWrk, parseH2load} {
		if _, err := parse("unable to connect"); err == nil {
			t.Error("a tool that says no number has measured nothing, and it was believed")
		}
	}
}

// A sample is what lies between two readings; what others use is what is left of the machine.
func TestSampleBetweenReadings(t *testing.T) {
	defer func(n int) { cores = n }(cores)
	cores = 2
	at := time.Unix(0, 0)
	from := reading{at: at, proxy: usage{1, 2, 10}, load: usage{5, 5, 0}, machine: machine{idle: 100, steal: 1}, count: 1000}
	to := reading{at: at.Add(2 * time.Second), proxy: usage{1.5, 3.5, 2010}, load: usage{5.5, 6, 0}, machine: machine{idle: 100.1, steal: 1.2}, count: 101_000}
	var s sample
	s.between(from, to)
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"rate", s.Rate, 50_000}, {"CPU", s.CPU, 2}, {"user", s.User, 0.5}, {"switches", s.Switches, 0.02},
		{"proxy busy", s.ProxyBusy, 1}, {"load busy", s.LoadBusy, 0.75}, {"steal", s.Steal, 0.05}, {"others", s.Others, 0.1},
	} {
		if d := c.got - c.want; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
}

// Ratios are of one repeat, and samples with an error are in none.
func TestPairedRatios(t *testing.T) {
	r := result{Samples: []sample{
		{Cell: "c", Peer: "stoa", Repeat: 0, CPU: 1}, {Cell: "c", Peer: "nginx", Repeat: 0, CPU: 2},
		{Cell: "c", Peer: "stoa", Repeat: 1, CPU: 9}, {Cell: "c", Peer: "nginx", Repeat: 1, CPU: 9},
		{Cell: "c", Peer: "stoa", Repeat: 2, CPU: 1}, {Cell: "c", Peer: "nginx", Repeat: 2, CPU: 100, Error: "answers errors"},
		{Cell: "d", Peer: "stoa", Repeat: 0, CPU: 50},
	}}
	cpu := func(s *sample) float64 { return s.CPU }
	got := spreadOf(paired(r.sampled("c", "stoa", cpu), r.sampled("c", "nginx", cpu), ratio)).text(2)
	if want := "0.75 [0.50-1.00]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := spreadOf(nil).text(2); got != "–" {
		t.Errorf("nothing measured is written %q", got)
	}
}

// Our part of the page is replaced and nothing else of it.
func TestInsert(t *testing.T) {
	for _, c := range []struct{ name, page, want string }{
		{"a new page", "", markBegin + "new\n" + markEnd},
		{"a page without our part", "# What\n\nrow\n", "# What\n\nrow\n\n" + markBegin + "new\n" + markEnd},
		{"a page with it", "# What\n" + markBegin + "old\n" + markEnd + "after\n", "# What\n" + markBegin + "new\n" + markEnd + "after\n"},
	} {
		if got := insert(c.page, "new\n"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A peer that is asked for by a wrong name is refused with the names that there are.
func TestChoosePeers(t *testing.T) {
	if _, err := choosePeers("stoa,ngnix"); err == nil || !strings.Contains(err.Error(), "haproxy") {
		t.Errorf("got %v, want the known names", err)
	}
	peers, err := choosePeers("")
	if err != nil || len(peers) != len(defaultPeers) {
		t.Errorf("got %d peers, %v; want the default ones", len(peers), err)
	}
}

// The page can be written from any part of a run.
func TestMarkdown(t *testing.T) {
	r := result{Peers: []string{"stoa", "haproxy"}, Cells: []string{"h1/64/100"}, Samples: []sample{
		{Cell: "h1/64/100", Peer: "stoa", CPU: 2, Rate: 10}, {Cell: "h1/64/100", Peer: "haproxy", CPU: 2.5, Rate: 20},
		{Cell: "h1/64/100", Peer: "stoa", Repeat: 1, CPU: 9, Rate: 10}, {Cell: "h1/64/100", Peer: "haproxy", Repeat: 1, Error: "3 answers were no 2xx"},
		{Cell: "h1/64/100", Peer: "stoa", Repeat: 2, CPU: 9, Rate: 10}, {Cell: "h1/64/100", Peer: "haproxy", Repeat: 2, CPU: 2.5, Rate: 20, Others: 0.3},
	}, Options: options{Noise: 0.05}}
	page := r.markdown()
	for _, want := range []string{"0.80 [0.80-0.80] | yes", "1 were so at the last try too and are not in", "1 x haproxy h1/64/100: 3 answers were no 2xx"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}
