package main

import (
	"fmt"
	"os"
	"time"
)

// A sample is one measured cell of one peer.
type sample struct {
	Repeat int    `json:"repeat"`
	Cell   string `json:"cell"`
	Peer   string `json:"peer"`
	Tries  int    `json:"tries"`           // how often it was taken until it was quiet
	Error  string `json:"error,omitempty"` // why it does not count

	Seconds  float64 `json:"seconds"`
	Requests int64   `json:"requests"` // answered by the back end meanwhile
	Rate     float64 `json:"rate"`
	CPU      float64 `json:"cpu"`      // of the proxy, seconds per 100,000 requests
	User     float64 `json:"user"`     // the part of it outside the kernel
	Switches float64 `json:"switches"` // context switches of the proxy per request
	Memory   memory  `json:"memory"`   // of the proxy at the end of the sample

	ProxyBusy   float64 `json:"proxyBusy"`   // the share of its core that the proxy used; near 1: the proxy was the limit
	LoadBusy    float64 `json:"loadBusy"`    // the same of load and back end; near 1: they were
	Others      float64 `json:"others"`      // the share of all cores that anyone else used, or that was stolen
	Steal       float64 `json:"steal"`       // the stolen part of it
	LoadAverage float64 `json:"loadAverage"` // of the last minute
}

const (
	warm     = time.Second            // until connections stand and caches are warm
	after    = 500 * time.Millisecond // the load outlives the sample by this
	maxTries = 3                      // of a sample that was noisy
	pause    = 5 * time.Second        // before it is taken again
	slack    = 0.01                   // by how much client and back end may differ, beside what was in flight
)

// measure takes a sample of a peer, or of the direct call if that is nil; again while it is noisy.
func (b *bench) measure(c cell, p *peer, repeat int) (s sample) {
	for try := 1; ; try++ {
		s = b.sample(c, p)
		s.Repeat, s.Tries = repeat, try
		if s.Error != "" || s.Others <= b.o.Noise || try == maxTries || b.o.quick {
			return s
		}
		time.Sleep(pause)
	}
}

// reading is everything that is read at one moment.
type reading struct {
	at      time.Time
	proxy   usage
	load    usage // the tool, the back ends and this program
	machine machine
	count   int64
}

func (b *bench) read(c cell, proxy, load []int) (r reading, err error) {
	r.count, err = b.back.count(c)
	r.at, r.proxy, r.load, r.machine = time.Now(), used(proxy...), used(load...), readMachine()
	return r, err
}

// sample runs the load once and cuts a sample out of its middle.
func (b *bench) sample(c cell, p *peer) (s sample) {
	s = sample{Cell: c.name(), Peer: direct, LoadAverage: loadAverage()}
	port := b.back.port(c)
	var proxy []int
	if p != nil {
		s.Peer, port, proxy = p.name, p.port(c), p.p.pids()
	}
	fail := func(err error) sample {
		s.Error = err.Error()
		return s
	}
	before, err := b.back.count(c)
	if err != nil {
		return fail(err)
	}
	l := b.loadFor(c, port, warm+b.o.Span+after)
	if err := l.cmd.Start(); err != nil {
		return fail(err)
	}
	load := append(append(b.back.pids(), os.Getpid()), l.cmd.Process.Pid)
	time.Sleep(warm)
	from, err1 := b.read(c, proxy, load)
	time.Sleep(b.o.Span)
	to, err2 := b.read(c, proxy, load)
	s.Memory = resident(proxy...)
	a, err3 := l.wait()
	total, err4 := b.back.count(c)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return fail(err)
		}
	}
	s.between(from, to)
	answered := total - before
	if c.proto != "grpc" {
		answered -= 3 // our own questions for the count
	}
	switch {
	case a.wrong > 0:
		return fail(fmt.Errorf("%d answers were no 2xx: %s", a.wrong, a.text))
	case s.Requests < 100:
		return fail(fmt.Errorf("%d requests: too few to measure", s.Requests))
	case differ(a.done, answered, int64(2*c.conns)):
		return fail(fmt.Errorf("the client has %d answers, the back end gave %d", a.done, answered))
	}
	return s
}

// between fills the sample from two readings.
func (s *sample) between(from, to reading) {
	s.Seconds = to.at.Sub(from.at).Seconds()
	s.Requests = to.count - from.count
	proxy, load := to.proxy.minus(from.proxy), to.load.minus(from.load)
	n := float64(max(s.Requests, 1))
	s.Rate = float64(s.Requests) / s.Seconds
	s.CPU, s.User, s.Switches = proxy.cpu()/n*100_000, proxy.User/n*100_000, float64(proxy.Switches)/n
	s.ProxyBusy, s.LoadBusy = proxy.cpu()/s.Seconds, load.cpu()/s.Seconds
	s.Steal, s.Others = strangers(from, to)
}

// strangers gives the share of all cores that was stolen, and that anyone but us had.
func strangers(from, to reading) (steal, others float64) {
	all := to.at.Sub(from.at).Seconds() * float64(cores)
	steal = (to.machine.steal - from.machine.steal) / all
	ours := to.proxy.minus(from.proxy).cpu() + to.load.minus(from.load).cpu()
	return steal, max(0, 1-(to.machine.idle-from.machine.idle+ours)/all)
}

// differ says whether two counts differ by more than what may have been in flight.
func differ(a, b, inflight int64) bool {
	d := a - b
	return max(d, -d) > inflight+int64(slack*float64(a))
}
