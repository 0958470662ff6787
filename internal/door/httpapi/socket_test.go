package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"stoa/api/fault"
	"stoa/client"
	"stoa/internal/door/httpapi"
	"stoa/internal/kernel/host"
)

// The socket and its folder are open to nobody else, and go with the platform.
func TestSocketModes(t *testing.T) {
	s := start(t, nil)
	for path, want := range map[string]fs.FileMode{s.socket: 0o600 | fs.ModeSocket, filepath.Dir(s.socket): 0o700 | fs.ModeDir, client.DataFile(s.socket): 0o600} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(s.socket))
	if err != nil || len(left) > 0 {
		t.Errorf("after the stop there is %v, %v", left, err)
	}
}

// run gives the error with which a server that cannot listen ends.
func run(t *testing.T, socket string) error {
	t.Helper()
	server, err := httpapi.New(httpapi.Options{Catalog: host.Build(&fake{}), Socket: socket, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	return server.Run(ctx, cancel) // one that listens ends at once, well
}

// A socket is replaced only if nobody answers, and nothing that is no socket is.
func TestWhatLiesAtTheSocketsPath(t *testing.T) {
	s := start(t, nil)
	if err := run(t, s.socket); !fault.Is(err, fault.Conflict) || fault.HintOf(err) == "" {
		t.Errorf("one that is in use: got %v, want a conflict", err)
	}
	if _, err := client.Call(t.Context(), s.client(t), getOp, getIn{}); err != nil {
		t.Errorf("the one in use was harmed: %v", err)
	}

	dir := shortDir(t)
	stale := filepath.Join(dir, "stale.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as after a kill
	l.Close()
	if err := run(t, stale); err != nil {
		t.Errorf("one whose owner is dead: got %v", err)
	}

	file := filepath.Join(dir, "file.sock")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t, file); !fault.Is(err, fault.Conflict) {
		t.Errorf("a file: got %v, want a conflict", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file was harmed: %q, %v", b, err)
	}

	long := filepath.Join(dir, strings.Repeat("x", 100)+".sock")
	if err := run(t, long); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "103") {
		t.Errorf("a long path: got %v, want invalid and the limit", err)
	}
}

// A folder that others may have prepared is refused.
func TestForeignRuntimeFolder(t *testing.T) {
	dir := shortDir(t)
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := run(t, filepath.Join(open, "a.sock")); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "0755") {
		t.Errorf("a folder open to others: got %v, want denied", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := run(t, filepath.Join(link, "a.sock")); !fault.Is(err, fault.Denied) {
		t.Errorf("a link to a folder: got %v, want denied", err)
	}
	if os.Getuid() == 0 {
		foreign := filepath.Join(dir, "foreign")
		if err := os.Mkdir(foreign, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(foreign, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		if err := run(t, filepath.Join(foreign, "a.sock")); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "belongs to user") {
			t.Errorf("another's folder: got %v, want denied", err)
		}
	}
}

// nobody is a user id that is neither root nor ours.
const nobody = 65534

// childSocket asks the test binary to connect to that socket and tell what it finds.
const childSocket = "STOA_TEST_SOCKET"

func TestMain(m *testing.M) {
	path := os.Getenv(childSocket)
	if path == "" {
		os.Exit(m.Run())
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		fmt.Println("dial:", errors.Is(err, syscall.EACCES), err)
		os.Exit(0)
	}
	fmt.Fprintf(conn, "POST /v1/service.reset HTTP/1.1\r\nHost: stoa\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	fmt.Printf("read: %s %v\n", b[:n], err)
	os.Exit(0)
}

// Another user does not reach the socket; and would be refused if it did, because
// somebody opened the folder. Only root can become another user: as any other user
// this test shows the same of the rule alone (TestWhoMayAsk).
func TestAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	s := start(t, nil)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The binary lies in a folder of root's own.
	bin := filepath.Join(shortDir(t), "child")
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(bin), 0o755); err != nil {
		t.Fatal(err)
	}
	asNobody := func() string {
		t.Helper()
		cmd := exec.Command(bin)
		cmd.Dir = "/"
		cmd.Env = []string{childSocket + "=" + s.socket}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("the child: %v\n%s", err, out)
		}
		return string(out)
	}
	if got := asNobody(); !strings.HasPrefix(got, "dial: true") {
		t.Errorf("another user: got %q, want permission denied", got)
	}
	if err := os.Chmod(filepath.Dir(s.socket), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.socket, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := asNobody(); !strings.Contains(got, "403 Forbidden") || !strings.Contains(got, `"denied"`) {
		t.Errorf("another user at an open socket: got %q, want 403", got)
	}
	if s.resets != 0 {
		t.Error("another user's request was carried out")
	}
}

// A port that is taken is an error that says what to do, or replaced where that was asked for.
func TestTakenPort(t *testing.T) {
	s := start(t, nil)
	taken := strings.TrimPrefix(s.base, "http://")
	server, err := httpapi.New(httpapi.Options{Catalog: host.Build(&fake{}), Admin: taken, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context(), func() {}); !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.HintOf(err), "--admin") {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	free := start(t, func(o *httpapi.Options) { o.Admin, o.AdminFree = taken, true })
	if free.base == s.base || free.base == "" {
		t.Errorf("got %q, want another than %q", free.base, s.base)
	}
}
