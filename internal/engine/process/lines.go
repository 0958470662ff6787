package process

import (
	"bytes"
	"io"
)

// MaxLine is the most of a line that a Sink gets at once, in bytes.
const MaxLine = 64 << 10

// A Sink takes one line of output, without its newline (and without a carriage return
// before that). A line longer than MaxLine comes in pieces, each but the last with more
// set. The slice is only lent. A sink is called by one goroutine at a time per stream;
// while it blocks the program will, once the pipe is full (64 KiB), so it should not
// block for long.
type Sink func(line []byte, more bool)

// firstLines is what a stream's buffer is made with; it grows with the lines, and lines
// of logs are short. There are two of these per instance.
const firstLines = 4 << 10

// pour reads r to its end and gives sink its lines. A last line without newline counts.
func pour(r io.Reader, sink Sink) {
	buf := make([]byte, 0, firstLines)
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(2*cap(buf), MaxLine)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		fresh := len(buf)
		buf = buf[:fresh+n]
		rest := buf
		for from := fresh; ; from = 0 { // what was there before holds no newline
			i := bytes.IndexByte(rest[from:], '\n')
			if i < 0 {
				break
			}
			sink(bytes.TrimSuffix(rest[:from+i], []byte{'\r'}), false)
			rest = rest[from+i+1:]
		}
		if len(rest) == MaxLine {
			sink(rest, true)
			rest = rest[:0]
		}
		if err != nil {
			if len(rest) > 0 {
				sink(rest, false)
			}
			return
		}
		if len(rest) == 0 && cap(buf) > firstLines {
			buf = make([]byte, 0, firstLines) // one long line is no reason to keep much
			continue
		}
		buf = buf[:copy(buf, rest)]
	}
}
