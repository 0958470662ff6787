package command

import (
	"net"
	"os"
)

// notifySystemd tells systemd that the platform serves, if systemd asked to be told
// (sd_notify(3)).
func notifySystemd() {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return // systemd will say that nothing came
	}
	defer c.Close()
	_, _ = c.Write([]byte("READY=1"))
}
