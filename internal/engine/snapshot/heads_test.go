package snapshot

import (
	"slices"
	"strings"
	"testing"
)

// Outside, heads are bounded more closely than inside; what is declared counts in both.
func TestHeads(t *testing.T) {
	for _, c := range []struct {
		listener Listener
		want     Heads
	}{
		{Listener{}, Heads{16 << 10, 8 << 10, 100}},
		{Listener{Caller: "web"}, Heads{64 << 10, 8 << 10, 100}},
		{Listener{Heads: Heads{Bytes: 32 << 10, Fields: 200}}, Heads{32 << 10, 8 << 10, 200}},
		{Listener{Heads: Heads{Bytes: 4 << 10}}, Heads{4 << 10, 4 << 10, 100}},
		{Listener{Heads: Heads{Bytes: 1 << 30, Target: 1 << 30, Fields: 1 << 30}}, Heads{MaxHead, MaxHead, MaxFields}},
	} {
		if got := c.listener.Bounds(); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.listener, got, c.want)
		}
	}
	for _, c := range []struct {
		heads Heads
		want  string
	}{
		{Heads{}, ""}, {Heads{1 << 20, 1 << 20, 1000}, ""}, {Heads{Target: 16 << 10}, ""},
		{Heads{1, 1, 1}, "bytes fields target"}, {Heads{1 << 21, 1 << 21, 1001}, "bytes fields target"},
		{Heads{Target: 32 << 10}, "target"}, {Heads{Bytes: 9 << 10, Target: 10 << 10}, "target"}, {Heads{Bytes: -1}, "bytes"},
	} {
		var got []string
		c.heads.Check(func(path, text, hint string) { got = append(got, path) })
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.heads, got, c.want)
		}
	}
}
