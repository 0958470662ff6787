package e2e

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
)

// meters are the series of a platform, by name and labels as they are exposed.
type meters map[string]float64

// meters reads /metrics by the socket.
func (p *platform) meters() meters {
	p.t.Helper()
	sockets, err := filepath.Glob(filepath.Join(p.runtime, "*.sock"))
	if err != nil || len(sockets) != 1 {
		p.t.Fatalf("sockets in %s: %v, %v", p.runtime, sockets, err)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", sockets[0])
	}}, Timeout: patience}
	resp, err := c.Get("http://stoa/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	m := meters{}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		line := s.Text()
		series, value, ok := strings.Cut(line, "} ")
		if !ok || line[0] == '#' {
			continue
		}
		value, _, _ = strings.Cut(value, " ") // what follows is an exemplar
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[series+"}"] = v
		}
	}
	return m
}

// sum adds the series of a name that have all of labels, such as callee="orders".
func (m meters) sum(name string, labels ...string) (sum float64) {
	for series, v := range m {
		rest, ok := strings.CutPrefix(series, name+"{")
		for _, l := range labels {
			ok = ok && (strings.HasPrefix(rest, l) || strings.Contains(rest, ","+l))
		}
		if ok {
			sum += v
		}
	}
	return sum
}
