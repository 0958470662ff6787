package process

import (
	"bytes"

	"stoa/api/fault"
)

// MarkName is the variable by which the processes of an instance are known. Its value,
// the mark, is <system data id>/<instance id>.
const MarkName = "STOA_INSTANCE"

// Leftover is a process of a dead Stoa that Sweep has ended.
type Leftover struct {
	PID  int
	Mark string
	Name string // of the program, as ps gives it; at most 15 bytes
}

// sweepable refuses prefixes that would match what is not ours.
func sweepable(prefix string) error {
	if i := bytes.IndexByte([]byte(prefix), '/'); i < 1 {
		return fault.New(fault.Invalid, "mark", "want a system data id and a slash, got %q", prefix)
	}
	return nil
}

// markIn gives the mark in an environment as /proc has it: strings, each ended by a NUL.
func markIn(environ []byte) (string, bool) {
	for len(environ) > 0 {
		var v []byte
		v, environ, _ = bytes.Cut(environ, []byte{0})
		if m, ok := bytes.CutPrefix(v, []byte(MarkName+"=")); ok {
			return string(m), true
		}
	}
	return "", false
}
