package meter

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// ContentType is the media type of what Expose writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Expose writes every family in the Prometheus text format, version 0.0.4. A histogram
// has a bucket for each power of two that matters for its unit: 65 us to 69 s for
// seconds, 64 B to 1 GiB for others.
func (r *Registry) Expose(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, f := range r.sorted() {
		first := true
		for s := range f.samples() {
			if first {
				first = false
				b.WriteString("# HELP " + f.Name + " " + escapeHelp(f.Help) + "\n")
				b.WriteString("# TYPE " + f.Name + " " + string(f.kind) + "\n")
			}
			if f.kind == KindHistogram {
				exposeDist(b, f, s)
			} else {
				line(b, f.Name, s.Labels, s.Values, "", number(s.Value))
			}
		}
	}
	return b.Flush()
}

func exposeDist(b *bufio.Writer, f *family, s Sample) {
	lo, hi := 6, 30
	if f.Unit == "seconds" {
		lo, hi = 16, 36
	}
	for exp := lo; exp <= hi; exp++ {
		le := number(float64(uint64(1)<<exp) * f.scale)
		line(b, f.Name+"_bucket", s.Labels, s.Values, le, strconv.FormatUint(s.Dist.atMost(exp), 10))
	}
	line(b, f.Name+"_bucket", s.Labels, s.Values, "+Inf", strconv.FormatUint(s.Dist.Count, 10))
	line(b, f.Name+"_sum", s.Labels, s.Values, "", number(s.Dist.Sum()))
	line(b, f.Name+"_count", s.Labels, s.Values, "", strconv.FormatUint(s.Dist.Count, 10))
}

func line(b *bufio.Writer, name string, labels, values []string, le, v string) {
	b.WriteString(name)
	if len(values) > 0 || le != "" {
		b.WriteByte('{')
		for i, val := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(labels[i])
			b.WriteString(`="`)
			b.WriteString(escapeValue(val))
			b.WriteByte('"')
		}
		if le != "" {
			if len(values) > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`le="` + le + `"`)
		}
		b.WriteByte('}')
	}
	b.WriteByte(' ')
	b.WriteString(v)
	b.WriteByte('\n')
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	valueEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func escapeHelp(s string) string { return helpEscapes.Replace(s) }

// escapeValue also makes the value valid UTF-8, which the format requires.
func escapeValue(s string) string { return valueEscapes.Replace(strings.ToValidUTF8(s, "\uFFFD")) }
