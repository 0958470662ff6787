package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/client"
	"stoa/internal/app"
	"stoa/internal/door/cli"
	"stoa/internal/engine/artefact"
	"stoa/internal/engine/build"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/resources"
	"stoa/internal/module/secrets"
)

// ApplyIn are the arguments of stoa apply.
type ApplyIn struct {
	Dir      string `json:"dir,omitempty" arg:"DIR,optional" help:"folder of the blueprint (default: this one)"`
	Env      string `json:"env,omitempty" flag:"env" help:"environment (default: dev)"`
	Source   string `json:"source,omitempty" flag:"source" help:"name of the source whose documents these are (default: the folder)"`
	Message  string `json:"message,omitempty" flag:"message,m" help:"why, for the history"`
	TakeOver bool   `json:"takeOver,omitempty" flag:"take-over" help:"documents of other sources that are named change hands"`
	Waiting
}

// PlanIn are the arguments of stoa plan.
type PlanIn struct {
	Dir      string `json:"dir,omitempty" arg:"DIR,optional" help:"folder of the blueprint (default: this one)"`
	Env      string `json:"env,omitempty" flag:"env" help:"environment (default: dev)"`
	Source   string `json:"source,omitempty" flag:"source" help:"name of the source whose documents these are (default: the folder)"`
	TakeOver bool   `json:"takeOver,omitempty" flag:"take-over" help:"documents of other sources that are named change hands"`
	ExitCode bool   `json:"exitCode,omitempty" flag:"exit-code" help:"exit with 0: nothing to do, 1: an error, 2: changes"`
}

// FailureCode makes every failure 1 if 2 is to mean changes.
func (in PlanIn) FailureCode(code int) int {
	if in.ExitCode && code != cli.CodeInterrupted {
		return cli.CodeFailed
	}
	return code
}

func applyCommand() cli.Command {
	c := cli.Cmd("apply", "build what a blueprint declares, store it, and put it in force", "stoa apply examples/shop", apply)
	c.More = "Builds here, stores programs, folders and contracts in the platform by their SHA-256, then commits\n" +
		"everything as one revision. Deletes what this source applied before and declares no more. A source\n" +
		"is a folder, or the name given by --source, for one that lies elsewhere each time. Several make up\n" +
		"a system: one has the System, the others need none."
	return c
}

func planCommand() cli.Command {
	c := cli.Cmd("plan", "show what an apply would change, and what that touches", "stoa plan examples/shop", plan)
	c.More = "Builds, because only a build tells whether a program changes; nothing is stored in the platform."
	return c
}

// A change is a blueprint that was read and built, for a platform.
type change struct {
	source string
	leave  []string // files that are part of no artefact
	docs   []core.Document
	store  *artefact.Store
	tmp    string
}

func (c *change) close() { _ = os.RemoveAll(c.tmp) }

// prepare reads and builds the blueprint in dir.
func prepare(ctx context.Context, s *cli.Session, dir, env, source string) (*change, error) {
	if dir == "" {
		dir = "."
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(s.Dir, dir)
	}
	set, err := load(ctx, s, dir, blueprint.Options{Env: env, Part: true})
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "stoa-apply-")
	if err != nil {
		return nil, err
	}
	c := &change{source: cmp.Or(source, set.Dir), docs: set.Docs, leave: secrets.FilesOf(set), tmp: tmp}
	if c.store, err = artefact.Open(filepath.Join(tmp, "artefacts")); err != nil {
		c.close()
		return nil, err
	}
	if err := c.build(ctx, s); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// buildsAtOnce bounds the builds; the go tool uses every core by itself.
const buildsAtOnce = 2

// build builds every document and tells every failure.
func (c *change) build(ctx context.Context, s *cli.Session) error {
	b := &build.Builder{Out: c.store, Leave: func() []string { return c.leave }, Warn: func(name, text string) { s.Talk("%-14s %s", name, text) }}
	failed := 0
	b.Documents(ctx, slices.Clone(c.docs), buildsAtOnce, func(d core.Document, m build.Made) {
		if m.Err != nil {
			failed++
			s.Talk("%-14s does not build: %s", d.Name, build.Reason(m.Err))
			if h := fault.HintOf(m.Err); h != "" {
				s.Talk("%-14s %s", "", h)
			}
			return
		}
		if build.Needs(d) {
			s.Talk("%-14s built in %s", d.Name, m.Took.Round(10*time.Millisecond))
		}
		if len(m.Artefacts) > 0 {
			i := slices.IndexFunc(c.docs, func(o core.Document) bool { return o.Ref() == d.Ref() })
			c.docs[i] = d.Clone()
			c.docs[i].Artefacts = m.Artefacts
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed > 0 {
		return fault.New(fault.Invalid, c.source, "%d of its services do not build; nothing was applied", failed).WithHint("Correct what is shown above.")
	}
	return nil
}

// codeChanges is the exit code of plan --exit-code when there is something to do.
const codeChanges = 2

func plan(ctx context.Context, s *cli.Session, in PlanIn) error {
	c, err := prepare(ctx, s, in.Dir, in.Env, in.Source)
	if err != nil {
		return err
	}
	defer c.close()
	cl, err := s.Client(ctx)
	if err != nil {
		return err
	}
	p, err := client.Call(ctx, cl, platform.PlanOp, platform.PlanIn{Source: c.source, Documents: c.docs, TakeOver: in.TakeOver})
	if err != nil {
		return err
	}
	if err := show(s, p, resources.PrintPlan); err != nil {
		return err
	}
	switch {
	case len(p.Problems) > 0:
		s.Done(cli.CodeFailed)
	case in.ExitCode && !p.Empty():
		s.Done(codeChanges)
	}
	return nil
}

// show writes a result in its own view, or as JSON.
func show[T any](s *cli.Session, v T, print func(io.Writer, T)) error {
	if s.JSON {
		return s.Show(v)
	}
	print(s.Stdout, v)
	return nil
}

func apply(ctx context.Context, s *cli.Session, in ApplyIn) error {
	c, err := prepare(ctx, s, in.Dir, in.Env, in.Source)
	if err != nil {
		return err
	}
	defer c.close()
	cl, err := s.Client(ctx)
	if err != nil {
		return err
	}
	if err := c.upload(ctx, cl); err != nil {
		return fmt.Errorf("nothing was applied: %w", err)
	}
	out, err := client.Call(ctx, cl, platform.ApplyOp, platform.ApplyIn{Source: c.source, Documents: c.docs, Message: in.Message, TakeOver: in.TakeOver})
	if err != nil {
		return err
	}
	if err := show(s, out, resources.PrintApplied); err != nil {
		return err
	}
	return in.forReady(ctx, s, cl, out.Revision)
}

// upload stores in the platform what it does not hold yet.
func (c *change) upload(ctx context.Context, cl *client.Client) error {
	sent := map[string]bool{}
	for _, d := range c.docs {
		for role, digest := range d.Artefacts {
			if sent[digest] {
				continue
			}
			sent[digest] = true
			if err := app.SendArtefact(ctx, cl, c.store, digest); err != nil {
				return fmt.Errorf("%s of %s: %w", role, d.Ref(), err)
			}
		}
	}
	return nil
}
