// Package shop_test keeps the bounded contexts apart.
package shop_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A service imports itself, what the shop shares, and nothing of another service: what
// one needs of another goes over the wire, after a contract. And nothing here knows
// the platform it runs on.
func TestBoundaries(t *testing.T) {
	const shop = "example.com/shop/"
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		home, _, _ := strings.Cut(filepath.ToSlash(path), "/")
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if name == "stoa" || strings.HasPrefix(name, "stoa/") {
				t.Errorf("%s imports %s: the shop needs no library of the platform", path, name)
			}
			if rest, ok := strings.CutPrefix(name, shop); ok {
				other, _, _ := strings.Cut(rest, "/")
				if !slices.Contains([]string{home, "internal"}, other) {
					t.Errorf("%s imports %s: %s belongs to another service", path, name, other)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
