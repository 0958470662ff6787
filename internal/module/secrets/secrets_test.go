package secrets

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
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

// A service that asks for no secret needs no file.
func TestNothingAsked(t *testing.T) {
	in := instance(t, 0o600, "")
	in.Doc.Sections["env"] = json.RawMessage(`{"A":"1"}`)
	if g, err := New(Ports{File: func() string { return "/nowhere" }}).grant(t.Context(), in); err != nil || len(g.Values) != 0 {
		t.Errorf("%+v, %v", g, err)
	}
}
