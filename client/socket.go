//go:build unix

package client

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stoa/api/fault"
)

// MaxSocketPath is the longest path of a Unix socket in bytes: sun_path has 104 on
// macOS (108 on Linux), one of them for the final zero.
const MaxSocketPath = 103

// EnvRuntime names the folder in which sockets are, and no other is looked at: for
// tests and whoever wants platforms that do not see each other.
const EnvRuntime = "STOA_RUNTIME"

// SocketPath gives the path at which a platform with the data folder data, run by this
// user, listens: $STOA_RUNTIME/HASH.sock, else $XDG_RUNTIME_DIR/stoa/HASH.sock, or
// /tmp/stoa-UID/HASH.sock where that is not set or too long. HASH is of the folder's absolute
// path, symbolic links followed.
func SocketPath(data string, getenv func(string) string) (string, error) {
	hash, err := dataHash(data)
	if err != nil {
		return "", err
	}
	return filepath.Join(runtimeDirs(os.Getuid(), getenv)[0], hash+".sock"), nil
}

// FindSocket gives the path at which the platform with the data folder data is to be
// found, whoever runs it: the first of the folders of this user and of the data
// folder's owner in which such a socket is. Without one it gives what SocketPath gives.
func FindSocket(data string, getenv func(string) string) (string, error) {
	path, err := SocketPath(data, getenv)
	if err != nil {
		return "", err
	}
	dirs := runtimeDirs(os.Getuid(), getenv)
	if info, err := os.Stat(data); err == nil && getenv(EnvRuntime) == "" {
		owner := ownerOf(info)
		dirs = append(dirs, fmt.Sprintf("/run/user/%d/stoa", owner), tmpDir(owner))
	}
	for _, dir := range dirs {
		p := filepath.Join(dir, filepath.Base(path))
		if info, err := os.Lstat(p); err == nil && info.Mode()&fs.ModeSocket != 0 {
			return p, nil
		}
	}
	return path, nil
}

// A Running platform of this user, as found in the runtime folders.
type Running struct{ Socket, Data string }

// Platforms lists the platforms of this user that answer now, at most 32 of them.
func Platforms(getenv func(string) string) []Running {
	var out []Running
	for _, dir := range runtimeDirs(os.Getuid(), getenv) {
		socks, _ := filepath.Glob(filepath.Join(dir, "*.sock")) // only a bad pattern is an error
		for _, s := range socks {
			if len(out) == 32 {
				return out
			}
			if checkSocket(s) != nil {
				continue
			}
			conn, err := net.DialTimeout("unix", s, 200*time.Millisecond)
			if err != nil {
				continue
			}
			conn.Close()
			data, err := os.ReadFile(DataFile(s))
			if err == nil {
				out = append(out, Running{Socket: s, Data: strings.TrimSpace(string(data))})
			}
		}
	}
	return out
}

// DataFile gives the path of the file beside a socket that names the data folder it serves.
func DataFile(socket string) string { return strings.TrimSuffix(socket, ".sock") + ".data" }

func dataHash(data string) (string, error) {
	abs, err := filepath.Abs(data)
	if err != nil {
		return "", fault.New(fault.Invalid, data, "%w", err)
	}
	// What exists of the path is resolved, so that it has one hash before and after the
	// folder is made.
	rest := ""
	for p := abs; ; p = filepath.Dir(p) {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			abs = filepath.Join(real, rest)
			break
		}
		if p == filepath.Dir(p) {
			break
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
	sum := sha256.Sum256([]byte(abs))
	return hex.EncodeToString(sum[:8]), nil
}

// runtimeDirs gives where the sockets of uid may be, the preferred one first.
func runtimeDirs(uid int, getenv func(string) string) []string {
	if x := getenv(EnvRuntime); filepath.IsAbs(x) {
		return []string{x}
	}
	dirs := []string{tmpDir(uid)}
	if x := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(x) {
		dir := filepath.Join(x, "stoa")
		// 16 digits of hash and ".sock", and the slash before them.
		if info, err := os.Stat(x); err == nil && info.IsDir() && len(dir)+22 <= MaxSocketPath {
			dirs = append([]string{dir}, dirs...)
		}
	}
	return dirs
}

func tmpDir(uid int) string { return "/tmp/stoa-" + strconv.Itoa(uid) }

// checkSocket refuses a socket that somebody else may have put there to be taken for
// the platform: its folder and itself must belong to this user, to root or, when this user is
// root, to the one owner of both, and nobody else may write to the folder.
func checkSocket(path string) error {
	if len(path) > MaxSocketPath {
		return fault.New(fault.Invalid, path, "a socket's path has at most %d bytes, this has %d", MaxSocketPath, len(path)).
			WithHint("Name a shorter path with --socket.")
	}
	sock, err := os.Lstat(path)
	if err != nil {
		return err
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	me, owner, dirOwner := os.Getuid(), ownerOf(sock), ownerOf(dir)
	switch {
	case sock.Mode()&fs.ModeSocket == 0:
		return fault.New(fault.Denied, path, "this is no socket").WithHint("Move the file away, or name the socket with --socket.")
	case owner != me && owner != 0 && (me != 0 || dirOwner != owner):
		return fault.New(fault.Denied, path, "the socket belongs to user %d", owner).WithHint("Run the command as that user, or as root.")
	case dirOwner != me && dirOwner != 0 && dirOwner != owner, dir.Mode().Perm()&0o022 != 0 && dir.Mode()&fs.ModeSticky == 0:
		return fault.New(fault.Denied, filepath.Dir(path), "others may write to the folder of the socket").
			WithHint("Remove the folder, then start the platform again.")
	}
	return nil
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// CheckRuntimeDir makes the folder of a socket, 0700, or refuses one that belongs to
// somebody else, is a symbolic link or is open to others.
func CheckRuntimeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return &fault.Error{Op: "client.runtimeDir", Subject: dir, Kind: fault.Unavailable, Err: err, Hint: "Name a socket in a folder you own with --socket."}
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return &fault.Error{Op: "client.runtimeDir", Subject: dir, Kind: fault.Unavailable, Err: err, Hint: "Name a socket in a folder you own with --socket."}
	}
	switch {
	case !info.IsDir():
		err = errors.New("it is no folder")
	case ownerOf(info) != os.Getuid():
		err = fmt.Errorf("it belongs to user %d, not to %d", ownerOf(info), os.Getuid())
	case info.Mode().Perm()&0o077 != 0:
		err = fmt.Errorf("its mode is %04o, not 0700", info.Mode().Perm())
	default:
		return nil
	}
	return &fault.Error{Op: "client.runtimeDir", Subject: dir, Kind: fault.Denied, Err: err,
		Hint: "Remove it, or name a socket in a folder of your own with --socket."}
}
