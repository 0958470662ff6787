package breaker

import (
	"strings"
	"testing"
	"time"
)

func TestConfigure(t *testing.T) {
	b := New(Config{}, 0)
	for range 20 {
		b.Done(Pass{}, Bad, second)
	}
	b.Configure(Config{Open: time.Second}, second)
	if s := b.State(second); s.Phase != Open || s.Retry < 5*time.Second {
		t.Errorf("new rules while open: %+v, want it to stay open", s)
	}
	b.Configure(Config{Off: true}, 2*second)
	if s := b.State(2 * second); s.Phase != Closed || s.Calls != 0 {
		t.Errorf("turned off while open: %+v, want closed", s)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{}, ""},
		{Config{Window: time.Minute, Least: 5, Percent: 100, Open: time.Minute, OpenMax: time.Hour, Slow: time.Second}, ""},
		{Config{Window: 1, Least: -1, Percent: 101, Open: 1, OpenMax: 2 * time.Hour, Slow: -1}, "window least percent open openMax slow"},
		{Config{Open: 2 * time.Minute}, "openMax"},
		{Config{OpenMax: time.Second}, "openMax"},
	} {
		var got []string
		c.c.Check(func(path, text, hint string) {
			got = append(got, path)
			if text == "" || hint == "" {
				t.Errorf("%+v: a problem with %s says %q and advises %q", c.c, path, text, hint)
			}
		})
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: problems with %q, want %q", c.c, got, c.want)
		}
	}
}
