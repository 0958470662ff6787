package process

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
)

// maxNetTable bounds what is read of /proc/PID/net/tcp: 150 bytes a socket, so some
// 100,000 sockets. Listeners come first in it.
const maxNetTable = 16 << 20

// Listening gives the TCP sockets on which the instance's processes listen, sorted by
// port. It is how to see that a program listens on another port than it was given.
// Processes that may not be looked into (of another user) are left out.
func (in *Instance) Listening() []Listener {
	select {
	case <-in.done:
		return nil
	default:
	}
	pids := []int{}
	for _, p := range below(processes(), in.shim.Process.Pid) {
		pids = append(pids, p.pid)
	}
	return Listening(pids)
}

// Listening gives the TCP sockets on which these processes listen, sorted by port. A
// socket that several of them share is given once, for the first.
func Listening(pids []int) []Listener {
	var found []Listener
	seen := make(map[string]bool)
	tables := make(map[string]map[string]netip.AddrPort) // by network namespace
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		ns, err := os.Readlink(dir + "/ns/net")
		if err != nil {
			continue // gone, or not for us to see
		}
		table := tables[ns]
		if table == nil {
			table = make(map[string]netip.AddrPort)
			listeners(table, dir+"/net/tcp")
			listeners(table, dir+"/net/tcp6")
			tables[ns] = table
		}
		fds, err := os.Open(dir + "/fd")
		if err != nil {
			continue
		}
		names, _ := fds.Readdirnames(-1)
		_ = fds.Close()
		for _, name := range names {
			link, err := os.Readlink(dir + "/fd/" + name)
			if err != nil {
				continue
			}
			if addr, ok := table[link]; ok && !seen[ns+link] {
				seen[ns+link] = true
				found = append(found, Listener{PID: pid, Addr: addr})
			}
		}
	}
	slices.SortFunc(found, func(a, b Listener) int {
		if a.Addr.Port() != b.Addr.Port() {
			return int(a.Addr.Port()) - int(b.Addr.Port())
		}
		return a.Addr.Addr().Compare(b.Addr.Addr())
	})
	return found
}

// listeners adds the listening sockets of a table such as /proc/net/tcp, keyed as a
// descriptor's link names them: socket:[INODE].
func listeners(into map[string]netip.AddrPort, file string) {
	b, _ := slurp(file, maxNetTable)
	for line := range bytes.Lines(b) {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...
		f := bytes.Fields(line)
		if len(f) < 10 || string(f[3]) != "0A" {
			continue
		}
		if addr, ok := hexAddr(f[1]); ok {
			into["socket:["+string(f[9])+"]"] = addr
		}
	}
}

// hexAddr reads 0100007F:1F90, or 32 digits before the colon: words of four bytes, each
// in the order of the machine, which for every Linux that we build for is little-endian.
func hexAddr(s []byte) (netip.AddrPort, bool) {
	host, port, ok := bytes.Cut(s, []byte{':'})
	if !ok {
		return netip.AddrPort{}, false
	}
	raw := make([]byte, hex.DecodedLen(len(host)))
	if _, err := hex.Decode(raw, host); err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(string(port), 16, 16)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok && err == nil
}
