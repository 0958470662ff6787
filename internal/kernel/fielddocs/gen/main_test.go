package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The committed comments are those of the source.
func TestDocsAreFresh(t *testing.T) {
	root := filepath.Join("..", "..", "..", "..")
	want, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, target))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run go run ./internal/kernel/fielddocs/gen", target)
	}
}
