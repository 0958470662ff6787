package secrets

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/internal/kernel/host"
)

const planted = "hunter2-and-more"

func instance(t *testing.T, mode os.FileMode, text string) host.Instance {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "secrets.env")
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	sys := core.Document{Kind: core.KindSystem, Name: "s", Source: dir, File: "stoa.yaml", Sections: map[string]json.RawMessage{"secrets": json.RawMessage(`{"file":"secrets.env"}`)}}
	svc := core.Document{Kind: core.KindService, Name: "a", Sections: map[string]json.RawMessage{"env": json.RawMessage(`{"KEY":"x${secret:stripe}","B":"${secret:stripe}","C":"plain"}`)}}
	return host.Instance{Doc: svc, State: core.State{Docs: map[core.Ref]core.Document{sys.Ref(): sys, svc.Ref(): svc}}}
}

// What env asks for is given, and named as something to hide.
func TestGrant(t *testing.T) {
	g, err := New(Ports{File: func() string { return "" }}).grant(t.Context(), instance(t, 0o600, "stripe="+planted+"\nother=1\n"))
	if err != nil || !maps.Equal(g.Values, map[string]string{"secret:stripe": planted}) || len(g.Secret) != 1 || g.Secret[0] != planted {
		t.Errorf("%+v, %v", g, err)
	}
}

// A file that others may read, or that lacks a name, is refused: with a hint, without a value.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		mode os.FileMode
		text string
		kind fault.Kind
		hint string
	}{
		"others may read it": {0o644, "stripe=" + planted, fault.Denied, "chmod 0600"},
		"misspelt":           {0o600, "strip=" + planted, fault.NotFound, "did you mean strip?"},
		"broken":             {0o600, "stripe=\"" + planted + "\n", fault.Invalid, ""},
		"too short":          {0o600, "stripe=abc\n", fault.Invalid, "longer one"},
		"twice":              {0o600, "stripe=" + planted + "\nstripe=2\n", fault.Invalid, ""},
	} {
		_, err := New(Ports{File: func() string { return "" }}).grant(t.Context(), instance(t, c.mode, c.text))
		if !fault.Is(err, c.kind) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v (%s), hint %q", name, err, fault.KindOf(err), fault.HintOf(err))
		}
		if err != nil && strings.Contains(err.Error()+fault.HintOf(err), planted) {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

// A file that cannot be read is told with its path, its owner and mode, who would read it, and what to do.
func TestUnreadableSaysWhoseItIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secrets.env")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	me := userName(os.Geteuid())
	denied := &fs.PathError{Op: "open", Path: file, Err: syscall.EACCES}
	for name, c := range map[string]struct {
		err  error
		kind fault.Kind
		want []string
	}{
		"another's":     {unreadable(file, info, denied), fault.Denied, []string{"belongs to " + me, "mode is 0600", "runs as " + me, "chown"}},
		"closed folder": {unreadable(file, nil, denied), fault.Denied, []string{"a folder above it", me}},
		"gone":          {unreadable(file, nil, &fs.PathError{Op: "stat", Path: file, Err: syscall.ENOENT}), fault.NotFound, []string{"not there", "Make it"}},
	} {
		text := c.err.Error() + " " + fault.HintOf(c.err)
		for _, w := range append(c.want, file) {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q lacks %q", name, text, w)
			}
		}
		if !fault.Is(c.err, c.kind) || strings.Count(c.err.Error(), file) != 1 {
			t.Errorf("%s: %v, want a %s fault that names the file once", name, c.err, c.kind)
		}
	}
}

// Under a server, a plan says that a System's file goes on being needed, once; a failure
// offers --secrets; a relative file of a System that was applied by a name is told.
func TestServer(t *testing.T) {
	flag := ""
	m := New(Ports{File: func() string { return flag }, Serves: func() bool { return true }})
	in := instance(t, 0o600, "stripe="+planted)
	file := filepath.Join(in.State.Docs[core.Ref{Kind: core.KindSystem, Name: "s"}].Source, "secrets.env")
	lines := m.effects(core.State{}, in.State)
	if len(lines) != 1 || !strings.Contains(lines[0].Text, file) || !strings.Contains(lines[0].Text, "--secrets") {
		t.Errorf("the first plan says %v, want the file and --secrets", lines)
	}
	if lines := m.effects(in.State, in.State); len(lines) != 0 {
		t.Errorf("a later plan says it again: %v", lines)
	}
	if lines := New(Ports{File: func() string { return "" }}).effects(core.State{}, in.State); len(lines) != 0 {
		t.Errorf("stoa dev says %v, want nothing: the folder is what it follows", lines)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err := m.grant(t.Context(), in)
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), file) || !strings.Contains(fault.HintOf(err), "stoa server --secrets") {
		t.Errorf("a file that is gone: %v, hint %q", err, fault.HintOf(err))
	}

	sys := in.State.Docs[core.Ref{Kind: core.KindSystem, Name: "s"}]
	sys.Source = "shop"
	in.State.Docs[sys.Ref()] = sys
	if _, err := m.grant(t.Context(), in); !fault.Is(err, fault.NotFound) || !strings.Contains(fault.HintOf(err), "--secrets") {
		t.Errorf("a relative file of a name: %v, hint %q", err, fault.HintOf(err))
	}
	if lines := m.effects(core.State{}, in.State); len(lines) != 1 || !strings.Contains(lines[0].Text, "needs stoa server --secrets") {
		t.Errorf("a plan of a name says %v", lines)
	}
	flag = file
	if lines := m.effects(core.State{}, in.State); len(lines) != 0 {
		t.Errorf("with --secrets a plan says %v", lines)
	}
}

// A service that asks for no secret needs no file.
func TestNothingAsked(t *testing.T) {
	in := instance(t, 0o600, "")
	in.Doc.Sections["env"] = json.RawMessage(`{"A":"1"}`)
	if g, err := New(Ports{File: func() string { return "/nowhere" }}).grant(t.Context(), in); err != nil || len(g.Values) != 0 {
		t.Errorf("%+v, %v", g, err)
	}
}
