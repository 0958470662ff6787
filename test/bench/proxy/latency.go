package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// A latency is what a peer's callers waited at a constant rate, in microseconds, the direct
// call included; what the proxy adds is the difference to the direct call of the same repeat.
type latency struct {
	Repeat int    `json:"repeat"`
	Peer   string `json:"peer"`
	Tries  int    `json:"tries"`
	Fault  string `json:"fault,omitempty"`
	delays
	Others      float64 `json:"others"`
	LoadAverage float64 `json:"loadAverage"`
}

// latencies measures the direct call and every peer at the same rate.
func (b *bench) latencies(order []*peer, repeat int) error {
	if b.result.Rate == 0 {
		b.result.Rate = b.o.Rate
	}
	if b.result.Rate == 0 {
		b.result.Rate = b.halfOfSlowest(repeat)
	}
	if b.result.Rate == 0 {
		return errors.New("latency: no peer has answered well enough to set a rate; give -rate")
	}
	for _, p := range append([]*peer{nil}, order...) {
		if b.interrupted() {
			return errStopped
		}
		l := b.latency(p, repeat)
		b.result.Latencies = append(b.result.Latencies, l)
		fmt.Fprintf(os.Stderr, "%d latency     %-14s at %d/s: p50 %.0f p99 %.0f p99.9 %.0f us, late p99 %.0f us, others %.1f %% %s\n", repeat+1, l.Peer, l.Rate, l.P50, l.P99, l.P999, l.LateP99, 100*l.Others, l.Fault)
	}
	return nil
}

// halfOfSlowest gives half of the rate that the slowest peer has reached.
func (b *bench) halfOfSlowest(repeat int) int {
	slowest := math.Inf(1)
	for _, p := range b.peers {
		rate := 0.0
		for _, s := range b.result.Samples {
			if s.Peer == p.name && s.Cell == saturation.name() && s.Error == "" {
				rate = s.Rate
			}
		}
		if rate == 0 { // its cell was not asked for
			rate = b.measure(saturation, p, repeat).Rate
		}
		if rate > 0 {
			slowest = min(slowest, rate)
		}
	}
	if math.IsInf(slowest, 1) {
		return 0
	}
	return int(slowest / 2)
}

func (b *bench) latency(p *peer, repeat int) (l latency) {
	for try := 1; ; try++ {
		l = b.latencyOnce(p)
		l.Repeat, l.Tries = repeat, try
		if l.Fault != "" || l.Others <= b.o.Noise || try == maxTries || b.o.quick {
			return l
		}
		time.Sleep(pause)
	}
}

func (b *bench) latencyOnce(p *peer) (l latency) {
	l = latency{Peer: direct, LoadAverage: loadAverage()}
	port := b.back.port(saturation)
	var proxy []int
	if p != nil {
		l.Peer, port, proxy = p.name, p.at.Plain, p.p.pids()
	}
	cmd, wait := b.steady(port, b.result.Rate)
	if err := cmd.Start(); err != nil {
		l.Fault = err.Error()
		return l
	}
	load := append(append(b.back.pids(), os.Getpid()), cmd.Process.Pid)
	from, err1 := b.read(saturation, proxy, load)
	time.Sleep(b.o.Latency)
	to, err2 := b.read(saturation, proxy, load)
	d, err := wait()
	if err = errors.Join(err1, err2, err); err != nil {
		l.Fault = err.Error()
		return l
	}
	l.delays = d
	_, l.Others = strangers(from, to)
	if d.Errors > 0 {
		l.Fault = fmt.Sprintf("%d requests failed: %s", d.Errors, d.Error)
	}
	return l
}
