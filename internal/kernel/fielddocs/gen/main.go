// Command gen gathers the comments of the types and fields of api/ into
// internal/kernel/fielddocs/docs.json. It is run from the root of the module.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const target = "internal/kernel/fielddocs/docs.json"

func main() {
	b, err := generate(".")
	if err == nil {
		err = os.WriteFile(target, b, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fielddocs/gen:", err)
		os.Exit(1)
	}
}

// generate gives the file for the module at root.
func generate(root string) ([]byte, error) {
	docs := map[string]string{}
	err := filepath.WalkDir(filepath.Join(root, "api"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		gather(docs, filepath.ToSlash(rel), f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b) // sorts the keys
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	err = enc.Encode(docs)
	return b.Bytes(), err
}

// gather adds the comments of the exported types of one file.
func gather(docs map[string]string, pkg string, f *ast.File) {
	for _, decl := range f.Decls {
		g, ok := decl.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			t := s.(*ast.TypeSpec)
			if !t.Name.IsExported() {
				continue
			}
			doc := t.Doc
			if doc == nil && len(g.Specs) == 1 {
				doc = g.Doc
			}
			add(docs, pkg+"."+t.Name.Name, doc, t.Comment)
			if st, ok := t.Type.(*ast.StructType); ok {
				fields(docs, pkg+"."+t.Name.Name, st)
			}
		}
	}
}

// fields adds the comments of the fields of a struct.
func fields(docs map[string]string, key string, st *ast.StructType) {
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			if n.IsExported() {
				add(docs, key+"."+n.Name, f.Doc, f.Comment)
			}
		}
	}
}

// add puts the comment above, or else the one beside, under key. The lines of a
// paragraph are joined.
func add(docs map[string]string, key string, above, beside *ast.CommentGroup) {
	text := above.Text()
	if strings.TrimSpace(text) == "" {
		text = beside.Text()
	}
	var paragraphs []string
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if strings.Contains(p, "\n\t") || strings.HasPrefix(p, "\t") || strings.Contains(p, "\n  - ") {
			paragraphs = append(paragraphs, p) // preformatted
			continue
		}
		paragraphs = append(paragraphs, strings.Join(strings.Fields(p), " "))
	}
	if text := strings.Join(paragraphs, "\n\n"); text != "" {
		docs[key] = text
	}
}
