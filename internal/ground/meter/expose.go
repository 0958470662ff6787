package meter

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// The media types of what Expose and ExposeOpen write.
const (
	ContentType     = "text/plain; version=0.0.4; charset=utf-8"
	OpenContentType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// Expose writes every family in the Prometheus text format, version 0.0.4. A histogram
// has a bucket for each power of two that matters for its unit: 65 us to 69 s for
// seconds, 64 B to 1 GiB for others. The bounds are the same for all series and for all
// time, each twice the one before, so that a server may keep them as a native histogram.
func (r *Registry) Expose(w io.Writer) error {
	return r.expose(&exposition{Writer: bufio.NewWriter(w)})
}

// ExposeOpen is Expose in OpenMetrics 1.0, with the exemplars of histograms.
func (r *Registry) ExposeOpen(w io.Writer) error {
	return r.expose(&exposition{Writer: bufio.NewWriter(w), open: true})
}

// exposition is a text in the making.
type exposition struct {
	*bufio.Writer
	open bool // OpenMetrics
}

func (r *Registry) expose(x *exposition) error {
	for _, f := range r.sorted() {
		first := true
		for s := range f.samples() {
			if first {
				first = false
				x.head(f)
			}
			if f.kind == KindHistogram {
				x.dist(f, s)
			} else {
				x.line(f.Name, s.Labels, s.Values, "", number(s.Value), nil)
			}
		}
	}
	if x.open {
		x.WriteString("# EOF\n")
	}
	return x.Flush()
}

func (x *exposition) head(f *family) {
	name, kind, help := f.Name, string(f.kind), helpEscapes.Replace(f.Help)
	if x.open {
		help = valueEscapes.Replace(f.Help)
		if f.kind == KindCounter { // a family bears the name of its samples without the suffix
			if base, ok := strings.CutSuffix(name, "_total"); ok {
				name = base
			} else {
				kind = "unknown"
			}
		}
	}
	x.WriteString("# HELP " + name + " " + help + "\n")
	x.WriteString("# TYPE " + name + " " + kind + "\n")
	if x.open && f.Unit != "" && strings.HasSuffix(name, "_"+f.Unit) {
		x.WriteString("# UNIT " + name + " " + f.Unit + "\n")
	}
}

func (x *exposition) dist(f *family, s Sample) {
	lo, hi := 6, 30
	if f.Unit == "seconds" {
		lo, hi = 16, 36
	}
	for exp := lo; exp <= hi; exp++ {
		le := number(float64(uint64(1)<<exp) * f.scale)
		if x.open && !strings.ContainsAny(le, ".e") {
			le += ".0"
		}
		from := exp
		if exp == lo {
			from = 0
		}
		x.line(f.Name+"_bucket", s.Labels, s.Values, le, strconv.FormatUint(s.Dist.atMost(exp), 10), x.exemplar(f, s, from, exp))
	}
	x.line(f.Name+"_bucket", s.Labels, s.Values, "+Inf", strconv.FormatUint(s.Dist.Count, 10), x.exemplar(f, s, hi+1, numExemplars-1))
	x.line(f.Name+"_sum", s.Labels, s.Values, "", number(s.Dist.Sum()), nil)
	x.line(f.Name+"_count", s.Labels, s.Values, "", strconv.FormatUint(s.Dist.Count, 10), nil)
}

// exemplar gives what follows the value of a bucket that holds the powers from to to.
func (x *exposition) exemplar(f *family, s Sample, from, to int) []string {
	if !x.open || s.hist == nil {
		return nil
	}
	e := s.hist.exemplar(from, to)
	if e == nil {
		return nil
	}
	at := strconv.FormatFloat(float64(e.At.UnixMilli())/1000, 'f', 3, 64)
	return []string{` # {trace_id="`, e.Trace, `"} `, number(float64(e.Value) * f.scale), " ", at}
}

func (x *exposition) line(name string, labels, values []string, le, v string, rest []string) {
	x.WriteString(name)
	if len(values) > 0 || le != "" {
		x.WriteByte('{')
		for i, val := range values {
			if i > 0 {
				x.WriteByte(',')
			}
			x.WriteString(labels[i])
			x.WriteString(`="`)
			x.WriteString(escapeValue(val))
			x.WriteByte('"')
		}
		if le != "" {
			if len(values) > 0 {
				x.WriteByte(',')
			}
			x.WriteString(`le="` + le + `"`)
		}
		x.WriteByte('}')
	}
	x.WriteByte(' ')
	x.WriteString(v)
	for _, s := range rest {
		x.WriteString(s)
	}
	x.WriteByte('\n')
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	valueEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// escapeValue also makes the value valid UTF-8, which the format requires.
func escapeValue(s string) string { return valueEscapes.Replace(strings.ToValidUTF8(s, "\uFFFD")) }
