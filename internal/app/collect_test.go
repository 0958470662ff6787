package app

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"stoa/api/core"
)

// Artefacts are kept of the newest revisions, as many as take no more than their bytes,
// and of the newest few in any case.
func TestKept(t *testing.T) {
	var states []core.State // newest first: each with a program of its own, all with one folder
	for i := range 10 {
		states = append(states, core.State{Docs: map[core.Ref]core.Document{
			{Kind: core.KindService, Name: "web"}: {Artefacts: map[string]string{"program": fmt.Sprint("p", i), "folder": "f"}},
		}})
	}
	for _, c := range []struct{ size, most, want int64 }{
		{size: 10, most: 1000, want: 10},
		{size: 10, most: 70, want: 6}, // and the folder
		{size: 10, most: 0, want: leastRevisions},
		{size: 0, most: 0, want: 10},
	} {
		named := kept(states, func(string) int64 { return c.size }, c.most)
		want := map[string]bool{"f": true}
		for i := range c.want {
			want[fmt.Sprint("p", i)] = true
		}
		if !maps.Equal(named, want) {
			t.Errorf("of %d bytes each, %d at most: kept %v, want %d programs", c.size, c.most, slices.Sorted(maps.Keys(named)), c.want)
		}
	}
}

func TestLinksToProgramsThatAreGoneAreDropped(t *testing.T) {
	root := t.TempDir()
	program := filepath.Join(root, "program")
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, to := range map[string]string{"stays": program, "goes": filepath.Join(root, "gone")} {
		if err := os.MkdirAll(filepath.Join(root, "bin", dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(root, "bin", dir, "web")); err != nil {
			t.Fatal(err)
		}
	}
	dropDangling(filepath.Join(root, "bin"))
	if _, err := os.Stat(filepath.Join(root, "bin", "stays", "web")); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(root, "bin", "goes")); !os.IsNotExist(err) {
		t.Errorf("the folder of a program that is gone is still there: %v", err)
	}
	dropDangling(filepath.Join(root, "nothing"))
}
