package breaker

import (
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		o    Outcome
		slow time.Duration
		want Result
	}{
		{Outcome{Status: 200, GRPC: -1}, 0, Good},
		{Outcome{Status: 404, GRPC: -1}, 0, Good},
		{Outcome{Status: 429, GRPC: -1}, 0, Good},
		{Outcome{Status: 499, GRPC: -1}, 0, Good},
		{Outcome{Status: 500, GRPC: -1}, 0, Bad},
		{Outcome{Status: 503, GRPC: -1}, 0, Bad},
		{Outcome{Status: 503, GRPC: -1, Ours: true}, 0, Ignored},
		{Outcome{GRPC: -1, Ours: true, Broken: true}, 0, Ignored},
		{Outcome{GRPC: -1, Broken: true}, 0, Bad},
		{Outcome{Status: 200, GRPC: -1, Broken: true}, 0, Bad},
		{Outcome{GRPC: -1, Gone: true}, 0, Ignored},
		{Outcome{GRPC: -1, Gone: true, Broken: true}, 0, Bad},
		{Outcome{GRPC: -1}, 0, Ignored},
		{Outcome{Status: 200, GRPC: 0}, 0, Good},
		{Outcome{Status: 200, GRPC: 1}, 0, Ignored},
		{Outcome{Status: 200, GRPC: 5}, 0, Good},
		{Outcome{Status: 200, GRPC: 8}, 0, Good},
		{Outcome{Status: 200, GRPC: 12}, 0, Good},
		{Outcome{Status: 200, GRPC: 2}, 0, Bad},
		{Outcome{Status: 200, GRPC: 4}, 0, Bad},
		{Outcome{Status: 200, GRPC: 13}, 0, Bad},
		{Outcome{Status: 200, GRPC: 14}, 0, Bad},
		{Outcome{Status: 200, GRPC: -1, Took: time.Minute}, 0, Good},
		{Outcome{Status: 200, GRPC: -1, Took: time.Second}, time.Second, Bad},
		{Outcome{Status: 200, GRPC: -1, Took: time.Second - 1}, time.Second, Good},
	} {
		if got := New(Config{Slow: c.slow}, 0).Judge(c.o); got != c.want {
			t.Errorf("Judge(%+v), slow from %v = %d, want %d", c.o, c.slow, got, c.want)
		}
	}
}
