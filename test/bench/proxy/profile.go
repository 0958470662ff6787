package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// estimate says how long a run takes on a calm machine.
func (b *bench) estimate() time.Duration {
	const start = 2 * time.Second // of a peer that is started anew
	peers := time.Duration(len(b.peers))
	sample := (warm + b.o.Span + after + time.Second).Truncate(time.Second)
	repeat := time.Duration(len(b.cells)) * (peers + 1) * sample
	if b.o.Latency > 0 {
		repeat += (peers + 1) * (b.o.Latency + warm)
	}
	all := time.Duration(b.o.Repeats) * repeat
	if b.o.Idle > 0 {
		all += time.Duration(min(b.o.Repeats, maxIdleRepeats)) * peers * (3*settle + start)
	}
	if b.o.Million > 0 {
		all += peers * (start + time.Duration(b.o.Million)*75*time.Microsecond)
	}
	return all
}

// profiles takes a CPU profile of every variant of Stoa under the load of every cell, apart
// from what is measured. A goal that is missed is reported with the profile that says why.
func (b *bench) profiles() error {
	if err := os.MkdirAll(b.o.profile, 0o755); err != nil {
		return err
	}
	for _, p := range b.peers {
		if !strings.HasPrefix(p.name, stoaPrefix) {
			continue
		}
		for _, c := range b.cells {
			l := b.loadFor(c, p.port(c), warm+b.o.Span+after)
			if err := l.cmd.Start(); err != nil {
				return err
			}
			time.Sleep(warm)
			path := filepath.Join(b.o.profile, p.name+"-"+strings.ReplaceAll(c.name(), "/", "-")+".pprof")
			err := b.profile(p, path)
			if _, waitErr := l.wait(); err == nil {
				err = waitErr
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr, "profile", path)
		}
	}
	return nil
}

func (b *bench) profile(p *peer, path string) error {
	resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", local(p.at.Metrics), max(1, int(b.o.Span.Seconds()))))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("profile of %s: status %d: %s", p.name, resp.StatusCode, body)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o644)
}
