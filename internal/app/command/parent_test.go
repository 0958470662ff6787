package command

import (
	"testing"
	"time"
)

func TestLost(t *testing.T) {
	for _, c := range []struct {
		what  string
		code  int
		lived time.Duration
		args  []string
		want  bool
	}{
		{"a good end", 0, time.Hour, nil, false},
		{"a failure that was told", 1, time.Hour, nil, false},
		{"the disk failed it", 86, 0, nil, true},
		{"a file of the journal is damaged", 87, 0, nil, true},
		{"kill -9", -9, 0, nil, true},
		{"a command of --wait that was interrupted", 130, time.Minute, []string{"dev", "--wait"}, false},
		{"a panic", 2, time.Minute, []string{"server"}, true},
		{"a misused command line", 2, 100 * time.Millisecond, []string{"server"}, false},
		{"the command of --wait", 2, time.Minute, []string{"dev", "--wait", "--", "false"}, false},
		{"the command of --wait, with the code of a disk", 86, time.Minute, []string{"dev", "--wait", "--", "false"}, false},
		{"kill -9 while a command runs: it is told who was lost", -9, time.Minute, []string{"dev", "--wait", "--", "false"}, true},
		{"a panic of a platform whose arguments say --wait after --", 2, time.Minute, []string{"dev", "--", "--wait"}, true},
	} {
		if got := lost(c.code, c.lived, c.args); got != c.want {
			t.Errorf("%s: started again: %v, want %v", c.what, got, c.want)
		}
	}
}
