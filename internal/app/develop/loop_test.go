package develop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apiblueprint "stoa/api/blueprint"
	"stoa/api/core"
	"stoa/api/fault"
	"stoa/internal/engine/build"
	"stoa/internal/engine/fswatch"
	"stoa/internal/kernel/blueprint"
)

// A stand is a loop over a blueprint and programs that are only thought, in still time.
// A program is built to "bN", where N counts what was written into it.
type stand struct {
	t       *testing.T
	l       *Loop
	watcher fswatch.Options
	roots   fswatch.Roots

	mu     sync.Mutex               // guards all below
	set    *blueprint.Set           // as it is on disk
	loads  error                    // why it cannot be read
	source map[string]int           // version of each program
	broken map[string]error         // programs that do not build
	takes  map[string]time.Duration // how long a build takes; 0 means 100ms
	refuse error                    // what an apply is answered

	events  []Event
	applied [][]core.Document
}

// develop runs play while a loop develops docs, and ends the loop.
func develop(t *testing.T, docs []core.Document, play func(s *stand)) {
	synctest.Test(t, func(t *testing.T) {
		s := &stand{t: t, source: map[string]int{}, broken: map[string]error{}, takes: map[string]time.Duration{}}
		s.write(docs...)
		l, err := New(Ports{
			Apply: func(_ context.Context, _ string, docs []core.Document, _ string) (uint64, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.refuse != nil {
					return 0, s.refuse
				}
				s.applied = append(s.applied, docs)
				return uint64(len(s.applied)), nil
			},
			Observe: func(core.Ref, core.Condition) {},
			Tell: func(e Event) {
				s.change(func() { s.events = append(s.events, e) })
			},
		}, s.set, Options{Dir: "/sys"})
		if err != nil {
			t.Fatal(err)
		}
		s.l = l
		l.h = hands{
			load: func(context.Context) (*blueprint.Set, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.set, s.loads
			},
			build: func(ctx context.Context, docs []core.Document, each func(core.Document, build.Made)) {
				for _, d := range docs {
					s.mu.Lock()
					version := s.source[d.Name]
					took := max(s.takes[d.Name], 100*time.Millisecond)
					s.mu.Unlock()
					var err error
					select {
					case <-time.After(took):
						s.change(func() { err = s.broken[d.Name] })
					case <-ctx.Done():
						err = ctx.Err()
					}
					each(d, build.Made{Artefacts: map[string]string{program: fmt.Sprint("b", version)}, Took: took, Err: err})
				}
			},
			inputs: func(_ context.Context, d core.Document) build.Inputs { return build.Inputs{Tree: "/sys/" + d.Name} },
			watch: func(o fswatch.Options) (func(context.Context), func(fswatch.Roots)) {
				s.watcher = o
				return func(ctx context.Context) { <-ctx.Done() }, func(r fswatch.Roots) { s.roots = r }
			},
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { l.run(ctx); close(ended) }()
		defer func() { cancel(); <-ended }()
		synctest.Wait()
		play(s)
	})
}

// change changes the world.
func (s *stand) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// write writes the blueprint.
func (s *stand) write(docs ...core.Document) {
	s.lay(&blueprint.Set{Dir: "/sys", Docs: docs, Files: []string{"/sys/stoa.yaml"}, Folders: []string{"/sys"}})
}

// lay lays a blueprint on disk.
func (s *stand) lay(set *blueprint.Set) { s.change(func() { s.set = set }) }

// saved has the loop hear that files were saved, and lets time pass.
func (s *stand) saved(pass time.Duration, paths ...string) {
	for _, p := range paths {
		if name, ok := strings.CutPrefix(p, "/sys/"); ok && !strings.HasSuffix(p, ".yaml") {
			name, _, _ = strings.Cut(name, "/")
			s.change(func() { s.source[name]++ })
		}
	}
	s.watcher.Tell(fswatch.Change{Paths: paths})
	s.pass(pass)
}

func (s *stand) pass(d time.Duration) {
	<-time.After(d) // of still time
	synctest.Wait()
}

// told gives the kinds of the events since it was asked last.
func (s *stand) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kinds []string
	for _, e := range s.events {
		kind := e.Kind
		if e.Document != "" {
			kind += ":" + strings.TrimPrefix(e.Document, "service/")
		}
		if e.Kind == Applied || e.Kind == Mended {
			kind += fmt.Sprint(":", e.Changes)
		}
		kinds = append(kinds, kind)
	}
	s.events = nil
	return strings.Join(kinds, " ")
}

func (s *stand) expect(what, want string) {
	s.t.Helper()
	if got := s.told(); got != want {
		s.t.Errorf("%s: told\n     %s\nwant %s", what, got, want)
	}
}

// force gives what is in force of a document: its text of sections, and its program.
func (s *stand) force(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.applied) == 0 {
		return "nothing"
	}
	for _, d := range s.applied[len(s.applied)-1] {
		if d.Name == name {
			return string(d.Sections["env"]) + string(d.Sections[""]) + " " + d.Artefacts[program]
		}
	}
	return "no " + name
}

func (s *stand) expectForce(what string, want ...string) {
	s.t.Helper()
	for i := 0; i < len(want); i += 2 {
		if got := s.force(want[i]); got != want[i+1] {
			s.t.Errorf("%s: %s is %q, want %q", what, want[i], got, want[i+1])
		}
	}
}

func web(env string) core.Document { return doc("service/web", "run", `{"go":"."}`, "env", env) }

const settling = time.Minute

// An edit of blueprint and sources comes into force as one revision, with the program that it asks for: a
// job before the release never runs with the program of before.
func TestEditComesIntoForceWithItsBuild(t *testing.T) {
	migrate := doc("job/migrate", "", `{"of":"web","args":["migrate"],"when":"before-release"}`)
	develop(t, []core.Document{web("1")}, func(s *stand) {
		s.pass(settling)
		s.expect("the start", "build:web built:web applied:1 settled")
		s.expectForce("the start", "web", "1 b0")

		s.write(web("2"), migrate)
		s.saved(settling, "/sys/stoa.yaml", "/sys/web/main.go")
		s.expect("one save of both", "build:web built:web applied:2 settled")
		s.expectForce("one save of both", "web", "2 b1", "migrate", string(migrate.Sections[""])+" ")

		// The source first, the blueprint while it is being built.
		s.saved(50*time.Millisecond, "/sys/web/main.go")
		s.write(web("3"), migrate)
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("the source first", "build:web built:web applied:1 settled")
		s.expectForce("the source first", "web", "3 b2")
		if len(s.applied) != 3 {
			t.Errorf("%d revisions, want 3", len(s.applied))
		}
	})
}

// An edit that asks for no build comes into force at once, and builds nothing.
func TestEditWithoutBuild(t *testing.T) {
	slow := doc("service/slow", "run", `{"command":["x"]}`)
	develop(t, []core.Document{web("1"), slow}, func(s *stand) {
		s.pass(settling)
		s.told()
		s.change(func() { s.takes["slow"] = 10 * time.Second })
		s.saved(time.Second, "/sys/slow/x.js")
		s.expect("a slow build", "build:slow")
		s.write(web("2"), slow)
		s.saved(0, "/sys/stoa.yaml")
		s.expect("an edit of another service meanwhile", "applied:1")
		s.expectForce("an edit of another service meanwhile", "web", "2 b0", "slow", " b0")
		s.pass(settling)
		s.expect("the end of the slow build", "built:slow applied:1 settled")
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("a save that changes nothing", "")
	})
}

// What does not build leaves alone what runs, with its edit of the blueprint, which is said; the others come into force.
func TestEditThatDoesNotBuild(t *testing.T) {
	other := func(env string) core.Document {
		return doc("service/other", "run", `{"external":["127.0.0.1:1"]}`, "env", env)
	}
	develop(t, []core.Document{web("1"), other("1")}, func(s *stand) {
		s.pass(settling)
		s.told()
		s.change(func() { s.broken["web"] = errors.New("main.go:3: undefined") })
		s.write(web("2"), other("2"))
		s.saved(settling, "/sys/stoa.yaml", "/sys/web/main.go")
		s.expect("a broken program", "build:web build-failed:web held:web applied:1 settled")
		s.expectForce("a broken program", "web", "1 b0", "other", "2 ")

		s.write(web("3"), other("2"))
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("a second edit of it", "")
		s.change(func() { delete(s.broken, "web") })
		s.saved(settling, "/sys/web/main.go")
		s.expect("the program corrected", "build:web built:web applied:1 settled")
		s.expectForce("the program corrected", "web", "3 b2")
	})
}

// That a document that does not build, or is being built, is no longer declared is said.
func TestWhatDoesNotBuildGoesAway(t *testing.T) {
	more := doc("service/more", "run", `{"go":"."}`)
	develop(t, []core.Document{web("1"), more}, func(s *stand) {
		s.pass(settling)
		s.told()
		s.change(func() { s.broken["more"] = errors.New("no") })
		s.saved(settling, "/sys/more/main.go")
		s.expect("broken", "build:more build-failed:more settled")
		s.write(web("1"))
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("gone", "gone:more applied:1 settled")
	})
}

// A service that never ran is declared, though it does not build.
func TestFirstBuildFails(t *testing.T) {
	develop(t, []core.Document{web("1"), doc("service/more", "run", `{"go":"."}`, "env", "1")}, func(s *stand) {
		s.change(func() { s.broken["web"] = errors.New("no") })
		s.pass(settling)
		s.expect("the start", "build:web build:more build-failed:web built:more applied:2 settled")
		s.expectForce("the start", "web", "1 ", "more", "1 b0")
	})
}

// Slow builds do not keep the rest from starting; each comes when it is done.
func TestSlowFirstBuild(t *testing.T) {
	develop(t, []core.Document{doc("service/fast", "run", `{"go":"."}`), web("1")}, func(s *stand) {
		s.change(func() { s.takes["web"] = 30 * time.Second })
		s.pass(quickBuilds)
		s.expect("after a moment", "build:fast build:web built:fast applied:2")
		s.expectForce("after a moment", "web", "1 ", "fast", " b0")
		s.pass(settling)
		s.expect("in the end", "built:web applied:1 settled")
		s.expectForce("in the end", "web", "1 b0")
	})
}

// A save during a build has it built once more; for who watches that is one build.
func TestSaveDuringBuild(t *testing.T) {
	develop(t, []core.Document{web("1")}, func(s *stand) {
		s.saved(50*time.Millisecond, "/sys/web/a.go")
		s.saved(50*time.Millisecond, "/sys/web/a.go")
		s.pass(settling)
		s.expect("the start", "build:web built:web applied:1 settled")
		s.expectForce("the start", "web", "1 b2")
	})
}

// What a build command writes has it run no second time; a save meanwhile has, once.
func TestSaveWhileABuildWrites(t *testing.T) {
	made := doc("service/made", "run", `{"command":["x"],"build":["make"]}`)
	develop(t, []core.Document{made}, func(s *stand) {
		s.saved(50*time.Millisecond, "/sys/made/dist/a.js") // nobody knows yet who that was
		s.pass(settling)
		s.expect("the start", "build:made built:made applied:1 settled")
		for range 2 {
			s.saved(50*time.Millisecond, "/sys/made/src/a.ts")
			s.saved(50*time.Millisecond, "/sys/made/dist/a.js", "/sys/made/dist/new.js")
			s.pass(settling)
			s.expect("an edit", "build:made built:made applied:1 settled")
		}
		s.saved(50*time.Millisecond, "/sys/made/src/a.ts")
		s.saved(60*time.Millisecond, "/sys/made/src/a.ts", "/sys/made/dist/a.js") // during the build
		s.saved(100*time.Millisecond, "/sys/made/dist/a.js")                      // by its second run
		s.pass(settling)
		s.expect("an edit with a save during its build", "build:made built:made applied:1 settled")
		s.expectForce("an edit with a save during its build", "made", " b10")
	})
}

// A blueprint with problems changes nothing; that it is good again is said, with how much was applied.
func TestBlueprintIsGoodAgain(t *testing.T) {
	develop(t, []core.Document{web("1")}, func(s *stand) {
		s.pass(settling)
		s.told()
		good := s.set
		bad := *good
		bad.Problems = []apiblueprint.Problem{{Message: "no"}}
		s.lay(&bad)
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("broken", "refused settled")
		s.lay(good)
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("as it was", "mended:0 settled")

		s.change(func() { s.loads = fault.New(fault.NotFound, "/sys", "there is no stoa.yaml here") })
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("gone", "refused settled")
		s.change(func() { s.loads = nil })
		s.write(web("2"), doc("service/far", "run", `{"external":["127.0.0.1:1"]}`))
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("another", "applied:2 mended:2 settled")

		s.lay(&bad)
		s.saved(settling, "/sys/stoa.yaml")
		s.write(web("3"))
		s.saved(settling, "/sys/stoa.yaml", "/sys/web/main.go")
		s.expect("with a build", "refused settled build:web mended:2 built:web applied:2 settled")
	})
}

// An apply that is refused for a reason that passes is tried until it goes, and said once; for another it waits for a change.
func TestRefusedApply(t *testing.T) {
	develop(t, []core.Document{web("1")}, func(s *stand) {
		s.change(func() { s.refuse = fault.New(fault.Exhausted, "journal", "the disk is full") })
		s.pass(settling)
		s.expect("the disk is full", "build:web built:web refused")
		s.change(func() { s.refuse = nil })
		s.pass(retryMost)
		s.expect("there is space again", "applied:1 settled")

		s.change(func() { s.refuse = fault.New(fault.Invalid, "service/web", "no") })
		s.write(web("2"))
		s.saved(settling, "/sys/stoa.yaml")
		s.expect("invalid", "refused settled")
		s.change(func() { s.refuse = nil })
		s.pass(settling)
		s.expect("nothing changed since", "")
		s.saved(settling, "/sys/web/main.go")
		s.expect("a save", "build:web built:web applied:1 settled")
		s.expectForce("a save", "web", "2 b1")
	})
}

// Folders that are included later are watched, also while what lies in them is broken; that files are not watched is said.
func TestFolders(t *testing.T) {
	develop(t, []core.Document{web("1")}, func(s *stand) {
		s.pass(settling)
		s.told()
		more := *s.set
		more.Folders, more.Files = []string{"/sys", "/beside"}, []string{"/beside/stoa.yaml", "/single/x.yaml", "/sys/stoa.yaml"}
		more.Problems = []apiblueprint.Problem{{Message: "no"}}
		s.lay(&more)
		s.saved(settling, "/sys/stoa.yaml")
		if !slices.Equal(s.roots.Trees, []string{"/beside", "/sys"}) || !slices.Equal(s.roots.Flat, []string{"/single"}) {
			t.Errorf("watched are %v", s.roots)
		}
		good := more
		good.Problems = nil
		s.lay(&good)
		s.saved(settling, "/beside/stoa.yaml")
		s.expect("the included folder mended", "refused settled mended:0 settled")

		s.watcher.Trouble(fault.New(fault.Exhausted, "", "no watches left").WithHint("Raise the limit."))
		s.watcher.Trouble(nil)
		s.pass(0)
		s.expect("trouble", "unwatched watched")
	})
}

// A system in which nothing is built is applied before the loop begins.
func TestAgainBeforeTheLoop(t *testing.T) {
	f := &force{wait: retryMost}
	f.again()
	if f.wait != 0 {
		t.Errorf("the next apply waits %v", f.wait)
	}
}
