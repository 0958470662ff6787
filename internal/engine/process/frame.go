package process

import (
	"syscall"
	"time"
)

// Descriptors that the shim finds open, beside 0, 1 and 2, which become the program's.
const (
	ordersFD  = 3 // reads one launch, then orders, as JSON values; its end means that Stoa died
	reportsFD = 4 // writes reports, as JSON values
)

// launch is the first value on the orders pipe.
type launch struct {
	Path  text          `json:"path"` // absolute
	Argv  []text        `json:"argv"`
	Env   []text        `json:"env"` // complete
	Dir   text          `json:"dir"` // absolute
	Grace time.Duration `json:"grace"`
}

// text is a string of any bytes. Paths, arguments and environments need not be UTF-8,
// and JSON would replace what is not; as a byte slice it goes as base64.
type text []byte

func texts(from []string) []text {
	to := make([]text, len(from))
	for i, s := range from {
		to[i] = text(s)
	}
	return to
}

func stringsOf(from []text) []string {
	to := make([]string, len(from))
	for i, t := range from {
		to[i] = string(t)
	}
	return to
}

// order is what Stoa asks for while the instance lives. One field is set.
type order struct {
	Stop   *time.Duration `json:"stop,omitempty"`   // SIGTERM to the group, SIGKILL to the tree after so long
	Signal syscall.Signal `json:"signal,omitempty"` // to the program alone
}

// report is what the shim tells. One field is set, Stuck aside. The order is Failed, or
// Started, Exited, Gone; Forced may come anywhere between. A pipe that ends without
// Failed or Gone means that the shim was killed.
type report struct {
	Started int     `json:"started,omitempty"` // pid of the program, which is also its group
	Failed  *failed `json:"failed,omitempty"`
	Exited  *exited `json:"exited,omitempty"`
	Forced  bool    `json:"forced,omitempty"` // the grace was over before the tree was empty
	Gone    bool    `json:"gone,omitempty"`   // nothing is left but Stuck
	Stuck   []int   `json:"stuck,omitempty"`  // pids that SIGKILL did not end in stuckAfter
}

type failed struct {
	Errno syscall.Errno `json:"errno"`
	Text  string        `json:"text"`
}

type exited struct {
	Status syscall.WaitStatus `json:"status"`
	OOM    bool               `json:"oom,omitempty"`
	Left   int                `json:"left,omitempty"` // live descendants at the exit
	User   time.Duration      `json:"user"`
	System time.Duration      `json:"system"`
	MaxRSS int64              `json:"maxrss"` // bytes
}
