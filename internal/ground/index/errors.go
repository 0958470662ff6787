package index

import (
	"fmt"

	"stoa/internal/ground/journal"
)

func keyErr(why string, n int) error {
	return fmt.Errorf("%w: %s (%d bytes, 1 to %d are allowed)", journal.ErrKey, why, n, MaxKey)
}

func tooBig(n int) error {
	return fmt.Errorf("%w: a batch of %d bytes, at most %d fit", journal.ErrTooBig, n, MaxBatch)
}
