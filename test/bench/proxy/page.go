package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// markdown writes the part of the page that is ours.
func (r *result) markdown() string {
	var s strings.Builder
	fmt.Fprintf(&s, "## The data plane and its peers\n\nWritten by `make bench-proxy`%s. %s, %s, %s.\n\n", map[bool]string{true: " with `-quick`: it shows that all works, and few figures worth keeping"}[r.Quick], r.Date, r.Machine, r.Go)
	fmt.Fprintf(&s, "%d repeats of samples of %s, %s in all; the proxy alone on core %d, load and back end on core %d. Medians [least-most]; ratios are of the same repeat. "+
		"CPU is user and system time of all processes and threads of the proxy. A cell is protocol/requests in flight/bytes of the answer: h1 HTTP/1.1 in clear text, tls HTTP/1.1 over TLS 1.3 (P-256, AES-128-GCM), "+
		"h2 HTTP/2 over the same, grpc unary calls over HTTP/2 in clear text; h2 and grpc with 8 streams a connection, 16 at 256.\n\n", r.Options.Repeats, r.Options.Span, r.Took, r.Options.ProxyCPU, r.Options.LoadCPU)
	s.WriteString("| peer | version | on; access log off |\n|---|---|---|\n")
	for _, p := range r.Peers {
		fmt.Fprintf(&s, "| %s | %s | %s |\n", p, r.Versions[p], r.What[p])
	}
	fmt.Fprintf(&s, "\nLoad: %s. Back end: %s, and a frame-level gRPC answerer.\n", r.Versions["load"], r.Versions["back end"])
	for _, p := range slices.Sorted(maps.Keys(r.Missing)) {
		fmt.Fprintf(&s, "\nNot measured: %s (%s).\n", p, strings.ReplaceAll(r.Missing[p], "\n", "; "))
	}
	r.writeQuiet(&s)
	r.writeGoals(&s)
	peers := r.Peers
	r.table(&s, "CPU of the proxy, seconds per 100,000 requests", peers, func(cell, peer string) string {
		return spreadOf(values(r.sampled(cell, peer, func(s *sample) float64 { return s.CPU }))).text(2)
	})
	for _, stoa := range r.stoas() {
		r.table(&s, "CPU per request, "+stoa+" / peer, paired", r.others(), func(cell, peer string) string {
			cpu := func(s *sample) float64 { return s.CPU }
			return spreadOf(paired(r.sampled(cell, stoa, cpu), r.sampled(cell, peer, cpu), ratio)).text(2)
		})
	}
	r.table(&s, "User part of the CPU, and context switches per request, medians", peers, func(cell, peer string) string {
		user := spreadOf(values(r.sampled(cell, peer, func(s *sample) float64 { return s.User })))
		switches := spreadOf(values(r.sampled(cell, peer, func(s *sample) float64 { return s.Switches })))
		if user.n == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f, %.2f", user.median, switches.median)
	})
	r.table(&s, "Requests a second, and how busy the proxy's core was (below 90 %, load or back end were the limit)", append([]string{direct}, peers...), func(cell, peer string) string {
		rate := spreadOf(values(r.sampled(cell, peer, func(s *sample) float64 { return s.Rate })))
		busy := spreadOf(values(r.sampled(cell, peer, func(s *sample) float64 { return s.ProxyBusy })))
		switch {
		case rate.n == 0:
			return "–"
		case peer == direct:
			return rate.text(0)
		}
		return fmt.Sprintf("%s, %.0f %%", rate.text(0), 100*busy.median)
	})
	r.table(&s, "Resident memory under load, MB, medians", peers, func(cell, peer string) string {
		rss := spreadOf(values(r.sampled(cell, peer, func(s *sample) float64 { return float64(s.Memory.RSS) / 1e6 })))
		if rss.n == 0 {
			return "–"
		}
		return fmt.Sprintf("%.1f", rss.median)
	})
	r.writeLatency(&s)
	r.writeMemory(&s)
	return s.String()
}

// table writes one row per cell and one column per peer.
func (r *result) table(s *strings.Builder, title string, peers []string, value func(cell, peer string) string) {
	if len(r.Cells) == 0 || len(peers) == 0 {
		return
	}
	fmt.Fprintf(s, "\n### %s\n\n| cell | %s |\n|---|%s\n", title, strings.Join(peers, " | "), strings.Repeat("---|", len(peers)))
	for _, c := range r.Cells {
		fmt.Fprintf(s, "| %s |", c)
		for _, p := range peers {
			s.WriteString(" " + value(c, p) + " |")
		}
		s.WriteString("\n")
	}
}

// writeQuiet says how quiet the machine was, and which samples do not count.
func (r *result) writeQuiet(s *strings.Builder) {
	var others, steal, load []float64
	tries, noisy := 0, 0
	faults := map[string]int{}
	for _, x := range r.Samples {
		others, steal, load = append(others, 100*x.Others), append(steal, 100*x.Steal), append(load, x.LoadAverage)
		tries += x.Tries - 1
		if x.Error == "" && x.Others > r.Options.Noise {
			noisy++
		}
		if x.Error != "" {
			faults[x.Peer+" "+x.Cell+": "+strings.ReplaceAll(x.Error, "\n", " ")]++
		}
	}
	for _, x := range r.Latencies {
		tries += x.Tries - 1
		if x.Fault == "" && x.Others > r.Options.Noise {
			noisy++
		}
		if x.Fault != "" {
			faults[x.Peer+" latency: "+strings.ReplaceAll(x.Fault, "\n", " ")]++
		}
	}
	fmt.Fprintf(s, "\nThe machine meanwhile: others used %s %% of all cores during a sample (stolen: %s %%), load average %s, our own part included. "+
		"%d samples were taken again because others used more than %.0f %%; %d were so at the last try too and are %s the figures. Samples that do not count:",
		spreadOf(others).text(1), spreadOf(steal).text(1), spreadOf(load).text(1), tries, 100*r.Options.Noise, noisy, map[bool]string{true: "nevertheless in", false: "not in"}[r.Quick])
	if len(faults) == 0 {
		s.WriteString(" none.\n")
		return
	}
	s.WriteString("\n\n")
	for _, f := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(s, "- %d x %s\n", faults[f], f)
	}
}

// goals are those that the project has set itself: CPU per request as a ratio, by peer.
var goals = []struct {
	what  string
	peer  string
	most  float64
	cells []string
}{
	{"HTTP/1.1", "haproxy", 0.9, []string{"h1/64/100", "h1/256/100"}},
	{"HTTP/1.1", "nginx", 1.0, []string{"h1/64/100", "h1/256/100"}},
	{"HTTP/1.1", "goproxy", 0.35, []string{"h1/64/100", "h1/256/100"}},
	{"HTTP/1.1", "caddy", 0.25, []string{"h1/64/100", "h1/256/100"}},
	{"HTTP/1.1", "traefik", 0.25, []string{"h1/64/100", "h1/256/100"}},
	{"HTTP/2", "caddy", 0.6, []string{"h2/64/100", "h2/256/100"}},
	{"gRPC", "caddy", 0.6, []string{"grpc/64/100", "grpc/256/100"}},
}

func (r *result) writeGoals(s *strings.Builder) {
	for _, stoa := range r.stoas() {
		var rows strings.Builder
		row := func(what, goal string, got spread, digits int, reached bool) {
			if got.n == 0 {
				return
			}
			fmt.Fprintf(&rows, "| %s | %s | %s | %s |\n", what, goal, got.text(digits), map[bool]string{true: "yes", false: "**no**"}[reached])
		}
		cpu := func(s *sample) float64 { return s.CPU }
		for _, g := range goals {
			for _, c := range g.cells {
				got := spreadOf(paired(r.sampled(c, stoa, cpu), r.sampled(c, g.peer, cpu), ratio))
				row("CPU per request, "+g.what+", "+c+", against "+g.peer, fmt.Sprintf("at most %.2f", g.most), got, 2, got.median <= g.most)
			}
		}
		p99 := func(l *latency) float64 { return l.P99 }
		added := func(peer string) map[int]float64 { return r.added(peer, p99) }
		got := spreadOf(paired(added(stoa), added("haproxy"), ratio))
		row("added p99 at half load, against haproxy", "at most 1.20", got, 2, got.median <= 1.2)
		var bytes []float64
		for _, i := range r.Idle {
			if i.Peer == stoa && i.Fault == "" {
				bytes = append(bytes, float64(i.Private)/1000)
			}
		}
		got = spreadOf(bytes)
		row("memory per idle connection, KB", "under 8", got, 1, got.median < 8)
		if rows.Len() > 0 {
			fmt.Fprintf(s, "\n### Goals: %s\n\n| what | goal | measured | reached |\n|---|---|---|---|\n%s", stoa, rows.String())
		}
	}
}

// added is what a peer adds to the direct call of the same repeat.
func (r *result) added(peer string, value func(*latency) float64) map[int]float64 {
	out := map[int]float64{}
	base := r.delayed(direct, value)
	for repeat, v := range r.delayed(peer, value) {
		if d, ok := base[repeat]; ok {
			out[repeat] = v - d
		}
	}
	return out
}

func (r *result) writeLatency(s *strings.Builder) {
	if len(r.Latencies) == 0 {
		return
	}
	fmt.Fprintf(s, "\n### Latency at a constant rate\n\n%d requests a second over 64 connections, HTTP/1.1 in clear text, 100 B: half of what the slowest peer could do, the same for all. Microseconds from the moment a request was due, "+
		"so that waiting behind others counts. A peer's rows are what it adds to the direct call of the same repeat.\n\n| | p50 | p99 | p99.9 | the generator was late by, p99 |\n|---|---|---|---|---|\n", r.Rate)
	late := func(l *latency) float64 { return l.LateP99 }
	for _, p := range append([]string{direct}, r.Peers...) {
		name := p
		fmt.Fprintf(s, "| %s |", name)
		for _, q := range []func(*latency) float64{
			func(l *latency) float64 { return l.P50 }, func(l *latency) float64 { return l.P99 }, func(l *latency) float64 { return l.P999 },
		} {
			v := r.added(p, q)
			if p == direct {
				v = r.delayed(p, q)
			}
			s.WriteString(" " + spreadOf(values(v)).text(0) + " |")
		}
		s.WriteString(" " + spreadOf(values(r.delayed(p, late))).text(0) + " |\n")
	}
}

func (r *result) writeMemory(s *strings.Builder) {
	if len(r.Idle)+len(r.Millions) == 0 {
		return
	}
	s.WriteString("\n### Memory\n\nBytes of a proxy's own memory for each idle connection (HTTP/1.1 in clear text, one request each, then nothing; private pages, and resident ones), and resident memory of a fresh proxy over many requests.\n\n")
	n := r.Options.Million
	fmt.Fprintf(s, "| | bytes an idle connection, private | resident | fresh, MB | after %d requests, MB | after %d | after %d |\n|---|---|---|---|---|---|---|\n", n/10, n/2, n)
	for _, p := range r.Peers {
		var private, rss, fresh []float64
		faults := ""
		for _, i := range r.Idle {
			switch {
			case i.Peer == p && i.Fault == "":
				private, rss, fresh = append(private, float64(i.Private)), append(rss, float64(i.RSS)), append(fresh, float64(i.Before.RSS)/1e6)
			case i.Peer == p:
				faults = " (" + strings.ReplaceAll(i.Fault, "\n", " ") + ")"
			}
		}
		fmt.Fprintf(s, "| %s | %s%s | %s | %s | %s | %s | %s |\n", p, spreadOf(private).text(0), faults, spreadOf(rss).text(0), spreadOf(fresh).text(1),
			r.after(p, n/10), r.after(p, n/2), r.after(p, n))
	}
}

// after is a peer's resident memory once it has answered so many.
func (r *result) after(peer string, requests int64) string {
	for _, m := range r.Millions {
		if m.Peer != peer {
			continue
		}
		if m.Fault != "" {
			return m.Fault
		}
		for _, s := range m.Steps {
			if s.Requests >= requests {
				return fmt.Sprintf("%.1f", float64(s.Memory.RSS)/1e6)
			}
		}
	}
	return "–"
}
