// Package browser tests the dashboard in a headless Chromium, on a platform that is not
// there (internal/door/dash/dashtest). It is a module of its own, so that whoever builds
// Stoa does not fetch what only this needs. The shop, end to end, is in the folder shop.
package browser

import (
	"bufio"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stoa/test/browser/chrome"
)

var standPath string // of the stand-in's binary

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stoa-browser")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		standPath = filepath.Join(dir, "stand")
		build := exec.Command("go", "build", "-o", standPath, "./internal/door/dash/dashtest/serve")
		build.Dir = "../.."
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			panic("the stand-in for the platform does not build: " + err.Error())
		}
		return chrome.Main(m)
	}())
}

// A stand is a running stand-in.
type stand struct {
	t     *testing.T
	login string // link
	base  string // http://127.0.0.1:port
}

func start(t *testing.T, system string) *stand {
	t.Helper()
	cmd := exec.Command(standPath, "-system", system)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the stand-in gave no address: %v", err)
	}
	login := strings.TrimSpace(line)
	base, _, _ := strings.Cut(login, "/#")
	return &stand{t: t, login: login, base: base}
}

// tell steers the stand-in: "show?system=trouble", "break", "mend", "expire".
func (s *stand) tell(what string) {
	s.t.Helper()
	u, err := url.JoinPath(s.base, "test")
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.Get(u + "/" + what)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("the stand-in answered %s to %s", res.Status, what)
	}
}
