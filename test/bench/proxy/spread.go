package main

import (
	"fmt"
	"slices"
	"strings"
)

// A spread is a median with the least and the greatest of what was measured.
type spread struct {
	median, least, most float64
	n                   int
}

func spreadOf(v []float64) (s spread) {
	if len(v) == 0 {
		return s
	}
	v = slices.Sorted(slices.Values(v))
	s = spread{v[len(v)/2], v[0], v[len(v)-1], len(v)}
	if len(v)%2 == 0 {
		s.median = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return s
}

// text writes it as "2.15 [1.70-2.40]", or what stands for nothing.
func (s spread) text(digits int) string {
	if s.n == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f [%.*f-%.*f]", digits, s.median, digits, s.least, digits, s.most)
}

// counts says whether a sample is in the figures: it has no fault, and others left the
// machine alone. A quick run is not that particular.
func (r *result) counts(fault string, others float64) bool {
	return fault == "" && (r.Quick || others <= r.Options.Noise)
}

// sampled gives a value of every sample that counts of a cell and peer, by repeat.
func (r *result) sampled(cell, peer string, value func(*sample) float64) map[int]float64 {
	out := map[int]float64{}
	for i := range r.Samples {
		s := &r.Samples[i]
		if s.Cell == cell && s.Peer == peer && r.counts(s.Error, s.Others) {
			out[s.Repeat] = value(s)
		}
	}
	return out
}

// delayed is the same of latencies.
func (r *result) delayed(peer string, value func(*latency) float64) map[int]float64 {
	out := map[int]float64{}
	for i := range r.Latencies {
		l := &r.Latencies[i]
		if l.Peer == peer && r.counts(l.Fault, l.Others) {
			out[l.Repeat] = value(l)
		}
	}
	return out
}

// values are those of all repeats.
func values(m map[int]float64) (v []float64) {
	for _, x := range m {
		v = append(v, x)
	}
	return v
}

// paired combines two by repeat; a repeat that lacks one is left out.
func paired(a, b map[int]float64, f func(a, b float64) float64) (v []float64) {
	for repeat, x := range a {
		if y, ok := b[repeat]; ok {
			v = append(v, f(x, y))
		}
	}
	return v
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// stoas are the peers that are Stoa's variants.
func (r *result) stoas() []string {
	return slices.DeleteFunc(slices.Clone(r.Peers), func(p string) bool { return !strings.HasPrefix(p, stoaPrefix) })
}

// others are the peers that are not.
func (r *result) others() []string {
	return slices.DeleteFunc(slices.Clone(r.Peers), func(p string) bool { return strings.HasPrefix(p, stoaPrefix) })
}
