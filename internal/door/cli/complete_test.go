package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What TAB offers after the words of a line; the last word is what is typed so far.
func TestComplete(t *testing.T) {
	r := newRig(t)
	stop := r.serve()
	offers := func(line string) string {
		t.Helper()
		words := strings.Split(line, " ")
		code, out, stderr := r.run(append([]string{"__complete"}, words...)...)
		if code != 0 || stderr != "" {
			t.Errorf("%q: got %d %q", line, code, stderr)
		}
		var got []string
		for l := range strings.Lines(out) {
			text, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
			got = append(got, text)
		}
		return strings.Join(got, " ")
	}
	for line, want := range map[string]string{
		"":                      "check completion dev fail get logs plan service version help",
		"ser":                   "service",
		"service ":              "reset restart",
		"service re":            "reset restart",
		"service restart ":      "cart orders",
		"service restart o":     "orders",
		"service restart cart ": "",
		"logs -f cart o":        "orders",
		"get ":                  "service/cart service/orders",
		"get service/o":         "service/orders",
		"get --s":               "--since --sort --socket",
		"get --sort ":           "name age",
		"get --sort n":          "name",
		"get --limit 3 --so":    "--sort --socket",
		"get --limit ":          "",
		"--json get service/c":  "service/cart",
		"--js":                  "--json",
		"help ser":              "service",
		"help service ":         "reset restart",
		"completion ":           "bash zsh fish",
		"dev shop -- ":          "",
		"dev --nonsense --wa":   "--wait",
		"nonsense ":             "",
	} {
		if got := offers(line); got != want {
			t.Errorf("stoa %s<TAB>: got %q, want %q", line, got, want)
		}
	}
	stop()
	if got := offers("service restart "); got != "" {
		t.Errorf("without a platform: got %q", got)
	}
	if got := offers("get s"); got != "service/ saga/" {
		t.Errorf("without a platform, kinds: got %q", got)
	}
}

// The bash script, in bash.
func TestBashCompletion(t *testing.T) {
	r := newRig(t)
	r.serve()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(exe, filepath.Join(bin, "stoa")); err != nil {
		t.Fatal(err)
	}
	script := `source <(stoa completion bash)
complete -p stoa >/dev/null || exit 9
while IFS= read -r line; do
	IFS=' ' read -ra COMP_WORDS <<< "$line"
	[[ $line == *' ' ]] && COMP_WORDS+=("")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_stoa
	echo "${COMPREPLY[*]}"
done`
	cmd := exec.Command("bash", "--norc", "-c", script)
	cmd.Dir = r.env.Dir
	cmd.Env = []string{asStoa + "=1", "PATH=" + bin + ":" + os.Getenv("PATH"), "STOA_RUNTIME=" + r.vars["STOA_RUNTIME"]}
	cmd.Stdin = strings.NewReader("stoa ser\nstoa service restart \nstoa get service/\nstoa get --sort \n")
	out, err := cmd.CombinedOutput()
	want := "service\ncart orders\nservice/cart service/orders\nname age\n"
	if err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}
