package blueprint

import (
	"context"
	"fmt"
	"io"

	api "stoa/api/blueprint"
	"stoa/api/core"
	"stoa/api/op"
	"stoa/internal/kernel/host"
)

// Module declares what belongs to the blueprint itself: the kinds System and Context and
// the operations that work on a folder.
type Module struct{}

var _ host.Module = Module{}

// Name is "blueprint".
func (Module) Name() string { return "blueprint" }

// Declare states kinds, sections and operations. It keeps the catalog: the operations
// need all of it, and are carried out after it is built.
func (Module) Declare(c *host.Catalog) {
	c.Kind(core.KindSystem, "The system: its name, what is the same for all services, and its environments", false)
	c.Kind(core.KindContext, "A bounded context: its owner, its words, and the contexts it depends on", true)

	host.Owns(c, api.Owner, nil)
	host.Owns(c, api.Glossary, nil)
	host.Owns(c, api.Uses, func(k *host.Checker, uses []api.Relation) {
		seen := map[string]int{}
		for i, u := range uses {
			path := fmt.Sprintf("[%d].context", i)
			first, twice := seen[u.Context]
			switch {
			case u.Context == k.Doc.Name:
				k.Bad(path, "a context does not use itself", "delete the relation")
			case twice:
				k.Bad(path, fmt.Sprintf("the relation is stated already, in uses[%d]", first), "delete one")
			default:
				k.Exists(path, core.KindContext, u.Context)
			}
			seen[u.Context] = i
		}
	})

	host.Handle(c, api.Check, func(ctx context.Context, in api.CheckIn) (api.CheckOut, error) {
		return check(ctx, c, in)
	}, printCheck)
	host.Handle(c, api.Schema, func(context.Context, op.None) (api.SchemaOut, error) {
		return api.SchemaOut{Schema: Schema(c)}, nil
	}, func(w io.Writer, out api.SchemaOut) { w.Write(out.Schema) })
	host.Handle(c, api.Explain, func(_ context.Context, in api.ExplainIn) (api.Explanation, error) {
		return Explain(c, in.Field)
	}, printExplanation)
}

// maxChecked is the number of environments that check looks at if it is not told which.
const maxChecked = 16

// check loads the blueprint as it is in the environment asked for, or as it is in each.
func check(ctx context.Context, c *host.Catalog, in api.CheckIn) (api.CheckOut, error) {
	if in.Dir == "" {
		in.Dir = "."
	}
	set, err := Load(ctx, in.Dir, c, Options{Env: in.Env, Part: true, Beside: true})
	if err != nil {
		return api.CheckOut{}, err
	}
	out := api.CheckOut{Dir: in.Dir, Part: set.Part, Environments: []string{set.Env}, Files: len(set.Files), Documents: len(set.Docs), Problems: append([]api.Problem{}, set.Problems...)}
	if in.Env != "" {
		return out, nil
	}
	told := map[api.Problem]bool{}
	for _, p := range set.Problems {
		told[p] = true
	}
	for _, env := range set.Envs[:min(len(set.Envs), maxChecked)] {
		if env == set.Env {
			continue
		}
		other, err := Load(ctx, in.Dir, c, Options{Env: env, Part: true, Beside: true})
		if err != nil {
			return api.CheckOut{}, err
		}
		out.Environments = append(out.Environments, env)
		for _, p := range other.Problems {
			if !told[p] {
				told[p] = true
				p.Environment = env
				out.Problems = append(out.Problems, p)
			}
		}
	}
	return out, nil
}

// printCheck gives one problem a line, then a summary.
func printCheck(w io.Writer, out api.CheckOut) {
	for _, p := range out.Problems {
		fmt.Fprintln(w, p.In(out.Dir))
	}
	found := "no problems"
	if n := len(out.Problems); n > 0 {
		found = plural(n, "problem")
	}
	fmt.Fprintf(w, "%s, %s\n", plural(out.Documents, "document"), found)
	if out.Part {
		fmt.Fprintln(w, "There is no System here: this is a part of one that is applied from elsewhere. What it refers to there is checked by stoa plan.")
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
