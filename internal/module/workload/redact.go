package workload

import "bytes"

// minSecret is the shortest secret that is looked for, in bytes: a shorter one would be
// found in innocent text.
const minSecret = 4

var hidden = []byte("[redacted]")

// redact takes secrets out of a line. It gives back line itself if it holds none.
func redact(line []byte, secrets []string) []byte {
	for _, s := range secrets {
		if len(s) >= minSecret && bytes.Contains(line, []byte(s)) {
			line = bytes.ReplaceAll(line, []byte(s), hidden)
		}
	}
	return line
}
