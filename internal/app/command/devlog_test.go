package command

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// What the platform says of trouble is a line among those of stoa dev, not a record.
func TestTroubleIsALine(t *testing.T) {
	var b strings.Builder
	log := slog.New(&lines{w: &b, mu: &sync.Mutex{}}).With("part", "proxy")
	log.Info("nothing to worry about")
	log.With("listener", "gateway").Error("a listener could not be opened", "address", ":443", "err", errors.New("in use"), "hint", "Take another.")
	const want = "stoa           a listener could not be opened: in use (listener gateway, address :443)\n               Take another.\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
