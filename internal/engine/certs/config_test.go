package certs_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stoa/api/fault"
	"stoa/internal/engine/certs"
)

// Every problem of a configuration is told at once, at its field, with what to do.
func TestConfigCheck(t *testing.T) {
	many := func(n int) (hosts []string) {
		for i := range n {
			hosts = append(hosts, fmt.Sprintf("h%d.stoa.dev", i))
		}
		return hosts
	}
	for _, c := range []struct {
		name string
		c    certs.Config
		want string // paths
	}{
		{"nothing", certs.Config{}, "-"},
		{"files", certs.Config{Cert: "c", Key: "k"}, ""},
		{"more files", certs.Config{Cert: "c", Key: "k", More: []certs.Pair{{"c", "k"}, {"", "k"}, {"c", ""}}}, "more[1].cert more[2].key"},
		{"only more files", certs.Config{More: []certs.Pair{{"c", "k"}}}, "cert key"},
		{"too many files", certs.Config{Cert: "c", Key: "k", More: slices.Repeat([]certs.Pair{{"c", "k"}}, 101)}, "more"},
		{"no key", certs.Config{Cert: "c"}, "key"},
		{"no cert", certs.Config{Key: "k"}, "cert"},
		{"dev", certs.Config{Dev: true}, ""},
		{"two", certs.Config{Dev: true, Cert: "c", Key: "k"}, "-"},
		{"acme", certs.Config{ACME: &certs.ACME{Agree: true, Hosts: []string{"shop.stoa.dev", "xn--bcher-kva.example.org"}, Email: "a@b.org", Challenge: "http-01"}}, ""},
		{"acme without a word", certs.Config{ACME: &certs.ACME{}}, "acme.agree acme.hosts"},
		{"acme at its most wrong", certs.Config{ACME: &certs.ACME{Directory: "http://x/dir", Email: "a b", Challenge: "dns-01", Profile: "a b", Account: &certs.Account{ID: "x"}, Agree: true,
			Hosts: []string{"*.a.org", "1.2.3.4", "A.org", "a.org.", "bücher.de", "a.org", "a.org", "a b", "a.org:443", "-a.org", "1.2.3"}}},
			"acme.directory acme.email acme.challenge acme.profile acme.account acme.hosts[0] acme.hosts[1] acme.hosts[2] acme.hosts[3] acme.hosts[4] acme.hosts[6] acme.hosts[7] acme.hosts[8] acme.hosts[9] acme.hosts[10]"},
		{"private names of a public server", certs.Config{ACME: &certs.ACME{Agree: true, Hosts: []string{"localhost", "a.localhost", "a.test", "a.internal", "intranet", "a.org"}}},
			"acme.hosts[0] acme.hosts[1] acme.hosts[2] acme.hosts[3] acme.hosts[4]"},
		{"private names of a private server", certs.Config{ACME: &certs.ACME{Directory: "https://ca.internal:9000/acme/dir", Hosts: []string{"a.internal", "intranet"}}}, ""},
		{"most hosts", certs.Config{ACME: &certs.ACME{Agree: true, Hosts: many(100)}}, ""},
		{"too many hosts", certs.Config{ACME: &certs.ACME{Agree: true, Hosts: many(101)}}, "acme.hosts"},
	} {
		var paths []string
		c.c.Check(func(path, text, hint string) {
			if path == "" {
				path = "-"
			}
			paths = append(paths, path)
			if text == "" || !strings.HasSuffix(hint, ".") {
				t.Errorf("%s: %s: %q, hint %q", c.name, path, text, hint)
			}
		})
		if got := strings.Join(paths, " "); got != c.want {
			t.Errorf("%s: problems at %q, want %q", c.name, got, c.want)
		}
		if _, err := certs.Open(c.c, certs.Options{}); c.want != "" && (!fault.Is(err, fault.Invalid) || fault.HintOf(err) == "") {
			t.Errorf("%s: Open gave %v, want it invalid with a hint", c.name, err)
		}
		b, err := json.Marshal(c.c)
		var back certs.Config
		if err != nil || json.Unmarshal(b, &back) != nil || !reflect.DeepEqual(back, c.c) {
			t.Errorf("%s: does not survive JSON: %s", c.name, b)
		}
	}
}

// Dev and ACME have keys to keep: without a folder they do not start.
func TestAFolderIsNeeded(t *testing.T) {
	for _, c := range []certs.Config{{Dev: true}, {ACME: &certs.ACME{Agree: true, Hosts: []string{"a.org"}}}} {
		if _, err := certs.Open(c, certs.Options{}); err == nil {
			t.Errorf("%+v was opened without a folder", c)
		}
	}
}
