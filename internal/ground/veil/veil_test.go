package veil

import (
	"strings"
	"testing"
)

// No form of a secret gets through, also one of many lines or one that holds another.
func TestVeil(t *testing.T) {
	v := New([]string{"hunter2-long", "hunter2", `quo"te\d`, "a b&c/d", "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n", "abc"})
	for in, want := range map[string]string{
		"nothing":                           "nothing",
		"x hunter2-long hunter2 y":          "x [redacted] [redacted] y",
		`{"pw":"quo\"te\\d"}`:               `{"pw":"[redacted]"}`,
		"postgres://u:a+b%26c%2Fd@h":        "postgres://u:[redacted]@h",
		"postgres://u:a%20b&c%2Fd@h":        "postgres://u:[redacted]@h",
		"MIIEvQIBADANBg":                    "[redacted]",
		"abc is too short to be looked for": "abc is too short to be looked for",
	} {
		if got := string(v.Hide([]byte(in))); got != want {
			t.Errorf("hide(%q) = %q, want %q", in, got, want)
		}
	}
}

// A secret that lies across two pieces of a long line is hidden, wherever the cut falls,
// and nothing else is lost or doubled.
func TestSecretAcrossPieces(t *testing.T) {
	const text = "a hunter2-long and xhunterhunter2 hunter2-hunter2-longest; MIIEvQIBADANBg, the end"
	v := New([]string{"hunter2-long", "hunter2", "hunter2-longest", "MIIEvQIBADANBg", "hunterhunter2"})
	want := string(v.Hide([]byte(text)))
	for i := range len(text) {
		for j := i; j < len(text); j++ {
			var s Seam
			got := ""
			for _, piece := range []struct {
				text string
				more bool
			}{{text[:i], true}, {text[i:j], true}, {text[j:], false}} {
				got += string(v.Hide(s.Join(v, []byte(piece.text), piece.more)))
			}
			if got != want {
				t.Fatalf("cut at %d and %d: %q, want %q", i, j, got, want)
			}
		}
	}
	var s Seam
	if got := string(s.Join(Veil{}, []byte("no secrets"), true)); got != "no secrets" {
		t.Errorf("without secrets %q was shown at once", got)
	}
}

// Control bytes are shown to nobody, so what is left without them is no secret either.
func TestSecretBetweenControlBytes(t *testing.T) {
	v := New([]string{"correct-horse"})
	spread := func(between string) string { return strings.Join(strings.Split("correct-horse", ""), between) }
	for line, want := range map[string]string{
		"a " + spread("\x00") + " b":             "a [redacted] b",
		spread("\r") + "\x1b[0m":                 "[redacted][0m",
		"it is \x1b[1mcorrect-horse\x1b[0m":      "it is \x1b[1m[redacted]\x1b[0m",
		"\x1b[31mred\x1b[0m and nothing to hide": "\x1b[31mred\x1b[0m and nothing to hide",
		"c\torrect-horse":                        "c\torrect-horse",
	} {
		if got := string(v.Hide([]byte(line))); got != want {
			t.Errorf("%q is shown as %q, want %q", line, got, want)
		}
	}
}

// What passed between services is of no one instance: the secrets of all are hidden in it,
// also of those that are gone.
func TestSecretsOfAllAreKnown(t *testing.T) {
	var k Known
	if got := k.Hide("/tok/hunter22"); got != "/tok/hunter22" {
		t.Errorf("without secrets %q was shown", got)
	}
	k.Learn([]string{"hunter22"})
	k.Learn([]string{"correct horse", ""})
	if got := k.Hide("/tok/hunter22/correct%20horse/x"); got != "/tok/[redacted]/[redacted]/x" {
		t.Errorf("%q was shown", got)
	}
	k.Learn([]string{"p@ss/word 77"})
	for path, want := range map[string]string{
		"/tok/p%40ss%2Fword%2077":   "/tok/[redacted]",
		"/tok/p@ss%2fword%2077/%2F": "/tok/[redacted]//",
		"/tok/h%75nter22":           "/tok/[redacted]",
		"/tok/a%2Fb%":               "/tok/a%2Fb%",
		"/tok/a%2Fb":                "/tok/a%2Fb",
	} {
		if got := k.Hide(path); got != want {
			t.Errorf("%q was shown as %q, want %q", path, got, want)
		}
	}
}
