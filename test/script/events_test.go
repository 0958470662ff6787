package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"stoa/internal/app/develop"
)

// fieldsOf are the fields that each kind of event of dev --json may have, besides kind and
// at; those with a * it always has.
var fieldsOf = map[string]string{
	develop.BuildBegan:  "*document",
	develop.Built:       "*document took",
	develop.BuildFailed: "*document *text hint took",
	develop.Held:        "*document *text",
	develop.Gone:        "*document",
	develop.Applied:     "*revision changes",
	develop.Refused:     "*text hint problems retried",
	develop.Mended:      "text revision changes",
	develop.Settled:     "",
	develop.Unwatched:   "*text hint",
	develop.Watched:     "",
	"note":              "*text",
	"state":             "*service",
	"up":                "*gateway admin *dashboard",
	"ready":             "took",
	"stopping":          "",
	"stopped":           "",
}

// events is the program events: it reads what dev --json has written and fails unless
// every line is one event. It writes each as "kind field field=value ...", a value only of
// document.
func events() {
	b, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	var last time.Time
	for line := range bytes.Lines(b) {
		var e map[string]json.RawMessage
		if err := json.Unmarshal(line, &e); err != nil {
			fail(fmt.Errorf("%q is no object: %w", line, err))
		}
		text := func(name string) (v string) {
			if err := json.Unmarshal(e[name], &v); err != nil {
				fail(fmt.Errorf("%s of %s: %w", name, line, err))
			}
			return v
		}
		kind := text("kind")
		at, err := time.Parse(time.RFC3339Nano, text("at"))
		if err != nil || at.Before(last.Add(-time.Minute)) {
			fail(fmt.Errorf("at of %s: %v, after %s", line, err, last))
		}
		last = at
		fields, known := fieldsOf[kind]
		if !known {
			fail(fmt.Errorf("%s is of no known kind", line))
		}
		allowed := strings.Fields(fields)
		for _, f := range allowed {
			if name, must := strings.CutPrefix(f, "*"); must && len(e[name]) == 0 {
				fail(fmt.Errorf("%s lacks %s", line, name))
			}
		}
		out := []string{kind}
		for _, name := range slices.Sorted(maps.Keys(e)) {
			if name == "kind" || name == "at" {
				continue
			}
			if !slices.Contains(allowed, name) && !slices.Contains(allowed, "*"+name) {
				fail(fmt.Errorf("%s has %s, which none of its kind has", line, name))
			}
			if name == "document" {
				name += "=" + text(name)
			}
			out = append(out, name)
		}
		fmt.Println(strings.Join(out, " "))
	}
}
