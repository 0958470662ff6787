package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// bench is one run.
type bench struct {
	o       *options
	dir     string
	peers   []*peer
	cells   []cell
	back    *backend
	stopped <-chan os.Signal
	result  result
}

var errStopped = errors.New("stopped")

// result is a whole run, as it is kept.
type result struct {
	Date     string            `json:"date"`
	Machine  string            `json:"machine"`
	Go       string            `json:"go"`
	Options  options           `json:"options"`
	Quick    bool              `json:"quick,omitempty"`
	Peers    []string          `json:"peers"`
	Versions map[string]string `json:"versions"`
	What     map[string]string `json:"what"` // the features that are on
	Missing  map[string]string `json:"missing,omitempty"`
	Cells    []string          `json:"cells"`
	Rate     int               `json:"rate"` // of the latencies
	Took     string            `json:"took"`

	Samples   []sample  `json:"samples"`
	Latencies []latency `json:"latencies"`
	Idle      []idle    `json:"idle"`
	Millions  []million `json:"millions"`
}

// direct is the name of the call without a proxy.
const direct = "direct"

// start starts back ends and peers. A peer that does not start, or that has not the
// features, is left out and named; only Stoa must be there.
func (b *bench) start() (err error) {
	b.result = result{
		Date: time.Now().UTC().Format("2006-01-02 15:04 UTC"), Go: runtime.Version(), Options: *b.o, Quick: b.o.quick,
		Machine:  fmt.Sprintf("%d cores (%s), %s", runtime.NumCPU(), cpuModel(), kernel()),
		Versions: map[string]string{}, What: map[string]string{}, Missing: map[string]string{},
	}
	if runtime.NumCPU() < 2 || b.o.ProxyCPU == b.o.LoadCPU {
		return errors.New("want two cores: one for the proxy, one for the load")
	}
	if err := errors.Join(message(b.dir), certificate(b.dir)); err != nil {
		return err
	}
	if b.back, err = startBackend(b.o, b.dir); err != nil {
		return err
	}
	b.result.Versions["back end"] = firstLine("-v")(inPath("nginx", "/usr/sbin/nginx")())
	b.result.Versions["load"] = firstLine("--version")(inPath("h2load", "")()) + ", wrk"
	for _, p := range slices.Clone(b.peers) {
		if err := b.startPeer(p); err != nil {
			fmt.Fprintf(os.Stderr, "without %s: %v\n", p.name, err)
			b.result.Missing[p.name] = err.Error()
			p.p.stop()
			b.peers = slices.DeleteFunc(b.peers, func(o *peer) bool { return o == p })
			continue
		}
		b.result.Peers = append(b.result.Peers, p.name)
		b.result.Versions[p.name] = p.version(p.program())
		b.result.What[p.name] = p.what
	}
	if len(b.peers) == 0 {
		return errors.New("no proxy is left to measure")
	}
	for _, c := range b.cells {
		b.result.Cells = append(b.result.Cells, c.name())
	}
	return nil
}

func (b *bench) startPeer(p *peer) error {
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	p.at = b.back.at
	p.at.Dir = filepath.Join(b.dir, p.name)
	p.at.Plain, p.at.TLS, p.at.GRPC, p.at.Metrics, p.at.Fast = ports[0], ports[1], ports[2], ports[3], p.fast
	if p.oneClear {
		p.at.GRPC = p.at.Plain
	}
	if err := os.MkdirAll(p.at.Dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"cert.pem", "key.pem", "both.pem"} {
		body, err := os.ReadFile(filepath.Join(b.dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.at.Dir, name), body, 0o600); err != nil {
			return err
		}
	}
	if err := p.start(b.o.ProxyCPU); err != nil {
		return err
	}
	return checkFeatures(p)
}

func (b *bench) stop() {
	for _, p := range b.peers {
		p.p.stop()
	}
	if b.back != nil {
		b.back.stop()
	}
}

// interrupted says whether the user wants an end.
func (b *bench) interrupted() bool {
	select {
	case <-b.stopped:
		return true
	default:
		return false
	}
}

// measureAll measures everything, repeat by repeat.
func (b *bench) measureAll() error {
	began := time.Now()
	for repeat := range b.o.Repeats {
		order := b.order(repeat)
		for _, c := range b.cells {
			if b.back.port(c) != 0 {
				b.keep(b.measure(c, nil, repeat))
			}
			for _, p := range order {
				if b.interrupted() {
					return errStopped
				}
				b.keep(b.measure(c, p, repeat))
			}
		}
		if b.o.Latency > 0 {
			if err := b.latencies(order, repeat); err != nil {
				return err
			}
		}
		if b.o.Idle > 0 && repeat < maxIdleRepeats {
			for _, p := range order {
				if b.interrupted() {
					return errStopped
				}
				b.result.Idle = append(b.result.Idle, b.holdIdle(p, repeat))
			}
		}
		b.result.Took = time.Since(began).Round(time.Second).String()
		if err := b.result.save(filepath.Join(cache(), "last.json")); err != nil { // an hour's work survives what comes
			return err
		}
	}
	if b.o.Million > 0 {
		for _, p := range b.peers {
			if b.interrupted() {
				return errStopped
			}
			b.result.Millions = append(b.result.Millions, b.watchMillion(p))
		}
	}
	b.result.Took = time.Since(began).Round(time.Second).String()
	return nil
}

// order gives the peers, beginning with another one in each repeat.
func (b *bench) order(repeat int) []*peer {
	i := repeat % len(b.peers)
	return slices.Concat(b.peers[i:], b.peers[:i])
}

func (b *bench) keep(s sample) {
	b.result.Samples = append(b.result.Samples, s)
	note := ""
	if s.Error != "" {
		note = "  ERROR " + s.Error
	} else if s.Others > b.o.Noise {
		note = "  noisy"
	}
	fmt.Fprintf(os.Stderr, "%d %-11s %-14s %7.0f/s  %5.2f CPU-s/100k (%.2f user)  proxy %3.0f %% load %3.0f %% others %4.1f %% load avg %.1f%s\n",
		s.Repeat+1, s.Cell, s.Peer, s.Rate, s.CPU, s.User, 100*s.ProxyBusy, 100*s.LoadBusy, 100*s.Others, s.LoadAverage, note)
}
