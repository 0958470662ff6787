package workload

import (
	"slices"
	"strings"
	"sync"

	"stoa/internal/engine/process"
	"stoa/internal/ground/veil"
)

// A tailer keeps the last lines of output, with secrets taken out.
type tailer struct {
	veil veil.Veil

	mu   sync.Mutex
	last []string // at most maxTail; guarded by mu
}

func newTailer(secrets []string) *tailer { return &tailer{veil: veil.New(secrets)} }

// add keeps line and gives it back without secrets.
func (t *tailer) add(line []byte) []byte {
	line = t.veil.Hide(line)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last = append(t.last, presentable(line)); len(t.last) > maxTail {
		t.last = slices.Delete(t.last, 0, 1)
	}
	return line
}

func (t *tailer) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.last)
}

// sink gives what takes one stream of a program's output.
func (m *Module) sink(out *tailer, service, instance, stream string) process.Sink {
	var line veil.Seam // of this stream: a sink is called by one goroutine at a time
	return func(piece []byte, more bool) {
		if text := line.Join(out.veil, piece, more); len(text) > 0 || !more {
			m.p.Line(service, instance, stream, out.add(text))
		}
	}
}

// tailer gives a tailer for an instance that was granted secrets.
func (m *Module) tailer(secrets []string) *tailer {
	m.known.Learn(secrets)
	return newTailer(secrets)
}

// Hide takes the secrets of every instance that was ever started out of a text that is of
// no one instance: the path of a request has passed two.
func (m *Module) Hide(text string) string { return m.known.Hide(text) }

// maxEvidenceLine is how much of a line is kept as evidence, in bytes: conditions are
// held in memory and sent whole.
const maxEvidenceLine = 1 << 10

// presentable makes of a line what may be shown on any terminal, whoever shows it.
func presentable(line []byte) string {
	s := strings.ToValidUTF8(string(line[:min(len(line), maxEvidenceLine)]), "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if veil.Control(r) {
			return -1
		}
		return r
	}, s)
	if len(line) > maxEvidenceLine {
		s += "..."
	}
	return s
}
