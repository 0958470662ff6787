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
)

// A promise without a test is not kept: each row names one that exists.
func TestPromisesAreProved(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs", "promises.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 2 || strings.HasPrefix(cells[0], "---") || strings.TrimSpace(cells[1]) == "proved by" {
			continue
		}
		rows++
		for proof := range strings.SplitSeq(cells[1], ";") {
			m := proofForm.FindStringSubmatch(strings.TrimSpace(proof))
			switch {
			case m == nil:
				t.Errorf("%q: want package: TestName, or story: name", strings.TrimSpace(proof))
			case m[1] == "story":
				if _, err := os.Stat(filepath.Join(root, "test", "script", "testdata", m[2]+".txtar")); err != nil {
					t.Errorf("there is no story %s", m[2])
				}
			case !hasTest(t, m[1], m[2]):
				t.Errorf("%s has no test %s", m[1], m[2])
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows: the table is not read as it is written", rows)
	}
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
