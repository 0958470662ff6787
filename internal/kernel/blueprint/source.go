package blueprint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	api "stoa/api/blueprint"
	"stoa/api/fault"
)

// The limits of reading. They are far above what people write and low enough that a
// hostile file costs less than a second and 64 MiB.
const (
	maxFileBytes  = 1 << 20 // of one file
	maxTotalBytes = 32 << 20
	maxFiles      = 2000
	maxFolders    = 50_000  // looked into
	maxDocuments  = 10_000  // in a file
	maxMarks      = 60_000  // characters of structure in a file, see marks: an upper bound of its values
	maxNodes      = 500_000 // values of all files
	maxDepth      = 64      // of nesting
	maxProblems   = 1000    // told
	maxOfFile     = 200     // told of one file
)

// A file is one file of a blueprint.
type file struct {
	path string // absolute
	rel  string // relative to the blueprint's folder, with slashes

	held []api.Problem // of its syntax, until it is taken
}

// A chunk is one document of a file as text; line is the number of lines before it.
type chunk struct {
	text []byte
	line int
}

// skipped are folders in which no blueprint is looked for; hidden ones are skipped too.
var skipped = []string{"node_modules", "vendor", "testdata"}

// readRoot reads the blueprint's own folder.
func (l *loader) readRoot() error {
	fi, err := os.Stat(l.dir)
	if err == nil && !fi.IsDir() {
		return fault.New(fault.Invalid, l.dir, "is a file; want the folder it is in").WithHint("Give the folder: %s.", filepath.Dir(l.dir))
	}
	if err != nil {
		return &fault.Error{Op: "blueprint.load", Subject: l.dir, Kind: fault.NotFound, Err: errors.New("there is no such folder"), Hint: "Give the folder that holds the System's stoa.yaml."}
	}
	if len(blueprintsIn(l.dir)) == 0 {
		return &fault.Error{Op: "blueprint.load", Subject: l.dir, Kind: fault.NotFound, Err: errors.New("there is no stoa.yaml here"), Hint: "Run stoa init to begin one, or give the folder that holds it."}
	}
	return l.readTree(l.dir)
}

// blueprintsIn gives the blueprint files of one folder.
func blueprintsIn(dir string) []string {
	var found []string
	for _, name := range []string{api.FileName, "stoa.yml"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			found = append(found, filepath.Join(dir, name))
		}
	}
	return found
}

// readTree reads the blueprint files of dir and of the folders below it, except those
// that are another system. A System in dir itself is for the caller to judge.
func (l *loader) readTree(dir string) error {
	l.folders = append(l.folders, dir)
	folders := 0
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		if err != nil {
			if e != nil && e.IsDir() {
				l.report(api.Position{File: l.rel(path)}, "", "", RuleInclude, "cannot be read: "+cause(err), "mend its permissions, or move it out of the blueprint's folder")
				return fs.SkipDir
			}
			return nil
		}
		if !e.IsDir() {
			return nil
		}
		if path != dir && (strings.HasPrefix(e.Name(), ".") || slices.Contains(skipped, e.Name())) {
			return fs.SkipDir
		}
		if folders++; folders > maxFolders {
			l.report(api.Position{File: l.rel(dir)}, "", "", RuleLimit, fmt.Sprintf("more than %d folders; the rest is not read", maxFolders), "move the blueprint away from what is not part of it")
			return fs.SkipAll
		}
		if l.once(path) {
			return fs.SkipDir // included twice
		}
		var all []parsed
		for _, p := range blueprintsIn(path) {
			if len(l.files)+len(all) >= maxFiles {
				l.report(api.Position{File: l.rel(p)}, "", "", RuleLimit, fmt.Sprintf("more than %d files; the rest is not read", maxFiles), "split the system")
				return fs.SkipAll
			}
			if got, fresh := l.parse(p); fresh {
				all = append(all, got)
			}
		}
		if path != dir && slices.ContainsFunc(all, parsed.isSystem) {
			return fs.SkipDir
		}
		for _, p := range all {
			l.take(p)
		}
		return nil
	})
}

// readIncludes reads what the System includes.
func (l *loader) readIncludes() error {
	if l.system == nil {
		return nil
	}
	base := filepath.Dir(l.system.file.path)
	for _, inc := range l.system.include {
		bad := func(msg, hint string) {
			l.report(inc.at, l.system.doc.Ref().String(), inc.path, RuleInclude, msg, hint)
		}
		pattern := filepath.FromSlash(inc.text)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(base, pattern)
		}
		found, err := filepath.Glob(pattern)
		if err != nil {
			bad(fmt.Sprintf("%q is no glob pattern", inc.text), "write a folder, or a pattern with *, ? and [a-z]")
			continue
		}
		before, none := len(l.files)+len(l.problems), true
		for _, p := range found {
			fi, err := os.Stat(p)
			switch {
			case err != nil:
				bad("cannot be read: "+cause(err), "")
			case fi.IsDir():
				none = false
				if sys := l.systemIn(p); sys != "" {
					bad(fmt.Sprintf("%s is another system (%s), which cannot be part of this one", inc.text, sys), "include the folders of its services instead")
					continue
				}
				if err := l.readTree(p); err != nil {
					return err
				}
			case filepath.Ext(p) == ".yaml", filepath.Ext(p) == ".yml":
				none = false
				if got, fresh := l.parse(p); fresh {
					if got.isSystem() {
						bad(fmt.Sprintf("%s is another system, which cannot be part of this one", inc.text), "include the files of its services instead")
						continue
					}
					l.take(got)
				}
			}
		}
		switch {
		case none && len(found) == 0:
			bad(fmt.Sprintf("nothing is found at %q", inc.text), "paths start at "+filepath.ToSlash(base))
		case none:
			bad(fmt.Sprintf("%q finds no folder and no .yaml file", inc.text), "")
		case len(found) == 1 && len(l.files)+len(l.problems) == before && !l.underRead(found[0]):
			bad(fmt.Sprintf("%q holds no %s", inc.text, api.FileName), "")
		}
	}
	return nil
}

// underRead says whether path was read before, with the blueprint or by another include.
func (l *loader) underRead(path string) bool {
	for _, f := range l.files {
		if f.path == path || strings.HasPrefix(f.path, path+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// systemIn gives the name of the file in folder dir that holds a System, or "".
func (l *loader) systemIn(dir string) string {
	if dir == l.dir {
		return ""
	}
	for _, p := range blueprintsIn(dir) {
		b, err := readFile(p)
		if err == nil && slices.ContainsFunc(split(b), func(c chunk) bool { k, _ := guess(c.text); return k == "System" }) {
			return filepath.Base(p)
		}
	}
	return ""
}

// once marks path as read and says whether it was before.
func (l *loader) once(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	was := l.seen[real]
	l.seen[real] = true
	return was
}

// rel gives path relative to the blueprint's folder, with slashes.
func (l *loader) rel(path string) string {
	if r, err := filepath.Rel(l.dir, path); err == nil {
		return filepath.ToSlash(r)
	}
	return filepath.ToSlash(path)
}

// errTooLarge is the failure of a file over the limit.
var errTooLarge = errors.New("is larger than 1 MiB")

// readFile reads a regular file up to the limit.
func readFile(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() { // opening a FIFO would wait for a writer
		return nil, errors.New("is no regular file")
	}
	if fi.Size() > maxFileBytes {
		return nil, errTooLarge
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(b) > maxFileBytes {
		err = errTooLarge
	}
	return b, err
}

// cause gives the innermost text of a file error, without the path it repeats.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// split cuts a file at the lines that begin a YAML document. Such a line cannot stand
// inside a document, whatever surrounds it (YAML 1.2, section 9.1.2).
func split(b []byte) []chunk {
	var out []chunk
	start, startLine, line := 0, 0, 0
	for pos := 0; pos < len(b); {
		end := bytes.IndexByte(b[pos:], '\n')
		if end < 0 {
			end = len(b) - pos - 1
		}
		if pos > start && isMarker(b[pos:pos+end+1]) {
			out = append(out, chunk{b[start:pos], startLine})
			start, startLine = pos, line
		}
		pos += end + 1
		line++
	}
	return append(out, chunk{b[start:], startLine})
}

// isMarker says whether a line begins a document.
func isMarker(line []byte) bool {
	return bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || bytes.IndexByte([]byte(" \t\r\n"), line[3]) >= 0)
}

// marks counts the characters of structure in a file. Every YAML value needs at least
// one, a comma in a flow mapping may stand for two, so it is an upper bound of the
// values, got without building any. The characters that need no blank around them are
// counted wherever they are: a file with tens of thousands of them is no blueprint.
func marks(b []byte) int {
	n := 0
	for _, c := range b {
		switch c {
		case ',':
			n += 2
		case '[', ']', '{', '}', ':', '?', '"', '\'', '&', '*', '!', '\n':
			n++
		}
	}
	return n
}

// badByte finds the first character that cannot be in a blueprint and says what it is; at
// is -1 if all is well. Besides what YAML excludes (section 5.1) that is every line end
// but \n and \r\n: the parser and we would count lines differently.
func badByte(b []byte) (at int, what, hint string) {
	for i := 0; i < len(b); {
		if c := b[i]; c >= 0x20 && c < 0x7f || c == '\n' || c == '\t' {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return i, "is no UTF-8", "save it as UTF-8 text"
		case r == '\r' && i+1 < len(b) && b[i+1] == '\n':
		case r == '\r', r == 0x85, r == 0x2028, r == 0x2029:
			return i, fmt.Sprintf("holds the line end U+%04X", r), "end lines with a line feed (Unix) or CR LF (Windows)"
		case r < 0x20, r == 0x7f, r >= 0x80 && r < 0xa0, r == 0xfffe, r == 0xffff:
			return i, fmt.Sprintf("holds the control character U+%04X", r), "delete it, or write it as \\x.. in double quotes"
		case r == '\ufeff' && i > 0:
			return i, "holds a byte order mark in its midst", "delete it"
		}
		i += n
	}
	return -1, "", ""
}
