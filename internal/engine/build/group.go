package build

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/workload"
)

// Made is what a document was built to, or why it was not.
type Made struct {
	Artefacts map[string]string // by role
	Took      time.Duration
	Err       error
}

// Documents builds many documents and gives each as it is made, one call of each at a
// time. Programs of one Go module are built by one run of the go tool, which loads and
// checks their packages once and never compiles one twice; if that fails, each is built
// by itself, so that the failure has a name. At most workers tools run at once.
func (b *Builder) Documents(ctx context.Context, docs []core.Document, workers int, each func(core.Document, Made)) {
	groups, rest := group(docs)
	var all sync.WaitGroup
	var telling sync.Mutex
	slots := make(chan struct{}, workers)
	tell := func(d core.Document, m Made) {
		telling.Lock()
		defer telling.Unlock()
		each(d, m)
	}
	alone := func(d core.Document) {
		slots <- struct{}{}
		began := time.Now()
		made, err := b.Document(ctx, d)
		took := time.Since(began)
		<-slots
		tell(d, Made{made, took, err})
	}
	for _, g := range groups {
		all.Go(func() {
			slots <- struct{}{}
			began := time.Now()
			made, err := b.module(ctx, g)
			took := time.Since(began)
			<-slots
			for _, p := range g.programs {
				if err == nil {
					tell(p.doc, Made{made[p.doc.Ref()], took, nil})
				} else {
					all.Go(func() { alone(p.doc) })
				}
			}
		})
	}
	for _, d := range rest {
		all.Go(func() { alone(d) })
	}
	all.Wait()
}

// A goModule is programs of one module that can be built together.
type goModule struct {
	root     string
	programs []goProgram
}

type goProgram struct {
	doc core.Document
	pkg string // relative to the root: "./cmd/orders"
}

// group sorts out what can be built together: two programs or more of a module, whose
// folders have different names, since these become the names of the binaries.
func group(docs []core.Document) (groups []goModule, rest []core.Document) {
	byRoot := map[string]*goModule{}
	names := map[string]bool{}
	for _, d := range docs {
		root, pkg, ok := goPackage(d)
		if !ok || names[root+"\x00"+filepath.Base(pkg)] {
			rest = append(rest, d)
			continue
		}
		names[root+"\x00"+filepath.Base(pkg)] = true
		if byRoot[root] == nil {
			byRoot[root] = &goModule{root: root}
		}
		byRoot[root].programs = append(byRoot[root].programs, goProgram{d, pkg})
	}
	for _, root := range slices.Sorted(maps.Keys(byRoot)) {
		if g := byRoot[root]; len(g.programs) > 1 {
			groups = append(groups, *g)
		} else {
			rest = append(rest, g.programs[0].doc)
		}
	}
	return groups, rest
}

// goPackage gives the module and package of a Go program that lies in a folder below its module's.
func goPackage(d core.Document) (root, pkg string, ok bool) {
	dir := DirOf(d)
	switch d.Kind {
	case core.KindService:
		r := workload.RunSection.Of(d)
		pkg, dir = r.Go, filepath.Join(dir, r.Dir)
	case core.KindJob:
		pkg = workload.JobBody.Of(d).Go
	}
	if pkg != "." && !strings.HasPrefix(pkg, "./") && !strings.HasPrefix(pkg, "../") {
		return "", "", false
	}
	at := filepath.Join(dir, filepath.FromSlash(pkg))
	for root = at; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", "", false
		}
	}
	rel, err := filepath.Rel(root, at)
	if err != nil || rel == "." {
		return "", "", false
	}
	return root, "./" + filepath.ToSlash(rel), true
}

// module builds the programs of a module by one run of the go tool.
func (b *Builder) module(ctx context.Context, g goModule) (map[core.Ref]map[string]string, error) {
	out, done, err := b.place(fmt.Sprintf("module-%x", sha256.Sum256([]byte(g.root)))[:23])
	if err != nil {
		return nil, err
	}
	defer done()
	pkgs := make([]string, len(g.programs))
	for i, p := range g.programs {
		pkgs[i] = p.pkg
	}
	quiet := *b
	quiet.Log = nil // what fails is built again, alone, and says so then
	if err := quiet.tool(ctx, filepath.Base(g.root), g.root, goBuild(out+string(filepath.Separator), pkgs...), "CGO_ENABLED=0"); err != nil {
		return nil, err
	}
	made := map[core.Ref]map[string]string{}
	for _, p := range g.programs {
		files, err := b.Files(p.doc)
		if err != nil {
			return nil, err
		}
		digest, err := b.program(filepath.Join(out, filepath.Base(p.pkg)), p.doc.Name, p.pkg)
		if err != nil {
			return nil, err
		}
		files[Program] = digest
		made[p.doc.Ref()] = files
	}
	return made, nil
}
