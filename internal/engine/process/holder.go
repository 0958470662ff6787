package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Holder names the process that listens on a TCP port of this machine: "nginx (process 812)";
// "" if it cannot be seen, as on systems without /proc.
func Holder(port int) string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return ""
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	for _, l := range Listening(pids) {
		if int(l.Addr.Port()) == port {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", l.PID))
			return fmt.Sprintf("%s (process %d)", strings.TrimSpace(string(name)), l.PID)
		}
	}
	return ""
}
