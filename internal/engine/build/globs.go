package build

import (
	"fmt"
	"path"
	"strings"

	"stoa/api/blueprint"
)

// Skip says of a path, relative and with slashes, whether it is left out.
type Skip func(rel string, isDir bool) bool

// always is what is never part of a service: version control, Stoa's own data, and the
// blueprint, which says how the service is run: an edit of it changes no program.
var always = []string{".git", ".hg", ".svn", ".stoa", ".DS_Store", blueprint.FileName, "stoa.yml"}

// Ignore gives the Skip for a service's ignore globs; see Match. Version control,
// Stoa's own data and blueprints are always left out.
func Ignore(globs []string) Skip {
	return func(rel string, isDir bool) bool {
		base := path.Base(rel)
		for _, a := range always {
			if base == a {
				return true
			}
		}
		for _, g := range globs {
			if Match(g, rel) {
				return true
			}
		}
		return false
	}
}

// CheckGlob says what is wrong with a glob, or nil.
func CheckGlob(glob string) error {
	for part := range strings.SplitSeq(glob, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return fmt.Errorf("%q is not a glob: a [ has no ]", part)
		}
	}
	return nil
}

// Match says whether the path rel, or a folder above it, matches glob. A glob without
// a slash matches a name at any depth; ** stands for any number of folders; the rest
// is that of path.Match.
func Match(glob, rel string) bool {
	g := strings.Split(strings.Trim(glob, "/"), "/")
	if len(g) == 1 {
		g = []string{"**", g[0]}
	}
	return match(g, strings.Split(rel, "/"))
}

// match: p may have more parts than g, for what lies below a matching folder.
func match(g, p []string) bool {
	if len(g) == 0 {
		return true
	}
	if g[0] == "**" {
		for i := range len(p) + 1 {
			if match(g[1:], p[i:]) && (len(g) > 1 || i < len(p)) {
				return true
			}
		}
		return false
	}
	if len(p) == 0 {
		return false
	}
	ok, err := path.Match(g[0], p[0])
	return err == nil && ok && match(g[1:], p[1:])
}
