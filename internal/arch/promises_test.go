package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	root      = filepath.Join("..", "..")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	proofForm = regexp.MustCompile(`^([\w./-]+): ([\w-]+)$`)
	noneForm  = regexp.MustCompile(`^not proved yet \(.+\)$`)
)

// Each promise names a test that exists, or says that it has none and why.
func TestPromisesAreProved(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs", "promises.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	rows, unproved := 0, 0
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 2 || strings.HasPrefix(cells[0], "---") || strings.TrimSpace(cells[1]) == "proved by" {
			continue
		}
		rows++
		if noneForm.MatchString(strings.TrimSpace(cells[1])) {
			unproved++
			continue
		}
		for proof := range strings.SplitSeq(cells[1], ";") {
			m := proofForm.FindStringSubmatch(strings.TrimSpace(proof))
			switch {
			case m == nil:
				t.Errorf("%q: want package: TestName, story: name, make: target, or not proved yet (why)", strings.TrimSpace(proof))
			case m[1] == "make":
				if !regexp.MustCompile(`(?m)^` + m[2] + `:`).Match(makefile) {
					t.Errorf("the Makefile has no target %s", m[2])
				}
			case m[1] == "story":
				if _, err := os.Stat(filepath.Join(root, "test", "script", "testdata", m[2]+".txtar")); err != nil {
					t.Errorf("there is no story %s", m[2])
				}
			case !hasTest(t, m[1], m[2]):
				t.Errorf("%s has no test %s", m[1], m[2])
			}
		}
	}
	if rows < 60 {
		t.Errorf("%d rows: the tables are not read as they are written", rows)
	}
	t.Logf("%d promises, %d not proved yet", rows, unproved)
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunc.FindAllStringSubmatch(string(b), -1) {
			if m[1] == name {
				return true
			}
		}
	}
	return false
}
