package command

import (
	"context"
	"fmt"

	"stoa/api/fault"
	"stoa/internal/app"
	"stoa/internal/door/cli"
	"stoa/internal/kernel/blueprint"
)

// load reads a blueprint as o says. If it has problems it prints every one and fails.
func load(ctx context.Context, s *cli.Session, dir string, o blueprint.Options) (*blueprint.Set, error) {
	set, err := blueprint.Load(ctx, dir, app.New(app.Options{}).Catalog, o)
	if err != nil {
		return nil, err
	}
	if n := len(set.Problems); n > 0 {
		for _, pr := range set.Problems {
			fmt.Fprintln(s.Stderr, pr.In(relative(s.Dir, set.Dir)))
		}
		return nil, fault.New(fault.Invalid, relative(s.Dir, set.Dir), "%s", problems(n)).WithHint("Correct them; stoa check %s tells whether all is well.", relative(s.Dir, set.Dir))
	}
	return set, nil
}
