// Package fielddocs gives the comments of the types and fields of api/ to the running
// program: what `stoa explain`, the JSON Schema and the OpenAPI document say of a field
// is what its comment says.
//
// The comments are gathered by the generator beside this package and committed as
// docs.json; a test says when they are stale:
//
//	go run ./internal/kernel/fielddocs/gen
//
// make generate runs it, and then what is made of its result.
package fielddocs

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

//go:embed docs.json
var data []byte

// docs maps "api/mesh.Use.Timeout" to the comment of the field, "api/mesh.Use" to that of the type.
var docs = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	if err := json.Unmarshal(data, &m); err != nil {
		panic("fielddocs: docs.json: " + err.Error())
	}
	return m
})

// module is the path of this module: types outside it have no docs here.
const module = "stoa/"

// Of gives the comment of a field of a struct type by its Go name, or with an empty name
// of the type itself; "" if there is none. Line breaks within a paragraph are blanks.
func Of(structType reflect.Type, field string) string {
	pkg, ok := strings.CutPrefix(structType.PkgPath(), module)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(structType.Name(), "[") // type arguments
	key := pkg + "." + name
	if field != "" {
		key += "." + field
	}
	return docs()[key]
}

// First gives the first sentence of a comment, without its full stop.
func First(doc string) string {
	doc, _, _ = strings.Cut(doc, "\n")
	for i := 0; i < len(doc); i++ {
		if doc[i] == '.' && (i+1 == len(doc) || doc[i+1] == ' ') && !strings.HasSuffix(doc[:i], "e.g") && !strings.HasSuffix(doc[:i], "i.e") {
			return doc[:i]
		}
	}
	return doc
}
