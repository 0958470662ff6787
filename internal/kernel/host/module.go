// Package host is the contract between the platform and its capabilities.
//
// A capability is a Module. It lives New(Ports) -> Declare -> Run:
//
//	New      keeps what app hands it (ports: funcs of other modules and of the platform)
//	Declare  states in a Catalog what it knows: sections, operations, reconcilers,
//	         grants, parts. It is pure: no file, port, goroutine or environment, so
//	         that help, check, completion and the reference stop here
//	Run      is the life of the parts it declared
//
// Ports are valid from Run on. Modules never import each other: they share nouns (any
// api twin) and are connected in app.
//
// The Catalog is built once, by Build, which panics on a contradiction (two owners of
// a section, one operation twice): that is a defect of the program, found by any test.
package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/op"
	"stoa/internal/ground/life"
)

// A Module is one capability.
type Module interface {
	Name() string
	Declare(*Catalog)
}

// Catalog is the table of everything that is declared: what the doors project and the
// kernel carries out. It does not change after Build.
type Catalog struct {
	owner string // module that declares now

	Kinds       []Kind
	Sections    []Section
	Operations  []Operation
	Reconcilers []Reconciler
	Grants      []Grantor
	Effects     []Effector
	Parts       []life.Part
	Endpoints   []Endpoint
}

// Build lets every module declare, in the order given, which is also the order in which their parts start.
func Build(modules ...Module) *Catalog {
	c := &Catalog{}
	for _, m := range modules {
		c.owner = m.Name()
		m.Declare(c)
	}
	c.owner = ""
	for _, s := range c.Sections {
		if !slices.ContainsFunc(c.Kinds, func(k Kind) bool { return k.Name == s.Kind }) {
			panic(fmt.Sprintf("host: module %s owns section %q of kind %s, which no module declares", s.Owner, s.Name, s.Kind))
		}
	}
	return c
}

// A Kind is a kind of document.
type Kind struct {
	Name  string // "Service"
	Help  string // one sentence
	Owner string // module
	Many  bool   // whether a system may hold more than one
}

// Kind declares a kind of document.
func (c *Catalog) Kind(name, help string, many bool) {
	if _, ok := c.KindOf(name); ok {
		panic(fmt.Sprintf("host: kind %s is declared twice", name))
	}
	c.Kinds = append(c.Kinds, Kind{Name: name, Help: help, Owner: c.owner, Many: many})
}

// KindOf finds a kind by its name, whatever its case.
func (c *Catalog) KindOf(name string) (Kind, bool) {
	for _, k := range c.Kinds {
		if strings.EqualFold(k.Name, name) {
			return k, true
		}
	}
	return Kind{}, false
}

// A Section is an owned part of a kind, with its type erased.
type Section struct {
	Kind, Name, Help string
	Owner            string       // module
	Type             reflect.Type // of the section value
	Default          any          // a value of Type
	// Check reports what is wrong with raw, which decodes as Type, to k.
	Check func(k *Checker, raw json.RawMessage)
	// Beside does the same with what the section says of files; nil if it says nothing.
	Beside func(k *Checker, raw json.RawMessage)
}

// Owns declares that the calling module makes section s true and how it is checked.
// check may be nil. It is pure, and must cope with any value of T.
func Owns[T any](c *Catalog, s core.Section[T], check func(*Checker, T)) {
	for _, o := range c.Sections {
		if o.Kind == s.Kind && (o.Name == s.Name || o.Name == "" || s.Name == "") {
			panic(fmt.Sprintf("host: section %q of %s has two owners, %s and %s", s.Name, s.Kind, o.Owner, c.owner))
		}
	}
	def, err := s.Decode(nil)
	if err != nil {
		panic(err)
	}
	c.Sections = append(c.Sections, Section{
		Kind: s.Kind, Name: s.Name, Help: s.Help, Owner: c.owner,
		Type: reflect.TypeFor[T](), Default: def,
		Check: decoding(s, check),
	})
}

// Beside declares how section s, which the calling module owns, is held against the files
// that lie beside its document. That is not pure, and only done where they are: by who
// reads the blueprint from its folder, never by a platform that is sent documents.
func Beside[T any](c *Catalog, s core.Section[T], check func(*Checker, T)) {
	i := slices.IndexFunc(c.Sections, func(o Section) bool { return o.Kind == s.Kind && o.Name == s.Name && o.Owner == c.owner })
	if i < 0 {
		panic(fmt.Sprintf("host: module %s looks beside section %q of %s, which it does not own", c.owner, s.Name, s.Kind))
	}
	c.Sections[i].Beside = decoding(s, check)
}

func decoding[T any](s core.Section[T], check func(*Checker, T)) func(*Checker, json.RawMessage) {
	return func(k *Checker, raw json.RawMessage) {
		if check == nil {
			return
		}
		v, err := s.Decode(raw)
		if err != nil {
			k.Bad("", fmt.Sprintf("%v", err), "")
			return
		}
		check(k, v)
	}
}

// SectionsOf gives the sections of a kind in the order of their declaration.
func (c *Catalog) SectionsOf(kind string) []Section {
	var out []Section
	for _, s := range c.Sections {
		if s.Kind == kind {
			out = append(out, s)
		}
	}
	return out
}

// An Operation is one row of the operation table, with its types erased.
type Operation struct {
	Name, Help, Example string
	Effect              op.Effect
	Local               bool
	Owner               string       // module
	In, Out             reflect.Type // request and answer struct

	// Exactly one of these is set. in is a pointer to a value of type In; what they
	// give back are values of type Out.
	Call   func(ctx context.Context, in any) (any, error)
	Stream func(ctx context.Context, in any) (iter.Seq2[any, error], error)

	// Print writes the text view of one answer; nil means a table made from its fields.
	Print func(w io.Writer, out any)
}

// Print is the text view of a result; nil: a table from its fields.
type Print[Out any] func(io.Writer, Out)

// Handle declares operation o, carried out by do.
func Handle[In, Out any](c *Catalog, o op.Op[In, Out], do func(context.Context, In) (Out, error), p Print[Out]) {
	h := operation(c, o, p)
	h.Call = func(ctx context.Context, in any) (any, error) { return do(ctx, *in.(*In)) }
	c.Operations = append(c.Operations, h)
}

// Follow declares an operation that answers with a stream. An error before the stream
// is a status; one inside it ends it.
func Follow[In, Out any](c *Catalog, o op.Op[In, Out], do func(context.Context, In) (iter.Seq2[Out, error], error), p Print[Out]) {
	h := operation(c, o, p)
	h.Stream = func(ctx context.Context, in any) (iter.Seq2[any, error], error) {
		seq, err := do(ctx, *in.(*In))
		if err != nil {
			return nil, err
		}
		return func(yield func(any, error) bool) {
			for v, err := range seq {
				if !yield(v, err) {
					return
				}
			}
		}, nil
	}
	c.Operations = append(c.Operations, h)
}

func operation[In, Out any](c *Catalog, o op.Op[In, Out], p Print[Out]) Operation {
	if _, ok := c.Operation(o.Name); ok {
		panic(fmt.Sprintf("host: operation %s is declared twice", o.Name))
	}
	h := Operation{
		Name: o.Name, Help: o.Help, Example: o.Example, Effect: o.Effect, Local: o.Local, Owner: c.owner,
		In: reflect.TypeFor[In](), Out: reflect.TypeFor[Out](),
	}
	if h.Effect == "" {
		h.Effect = op.Read
	}
	if p != nil {
		h.Print = func(w io.Writer, out any) { p(w, out.(Out)) }
	}
	return h
}

// Operation finds a row by its name.
func (c *Catalog) Operation(name string) (Operation, bool) {
	for _, o := range c.Operations {
		if o.Name == name {
			return o, true
		}
	}
	return Operation{}, false
}

// A Reconciler brings what was observed towards what is declared, level-triggered: it
// is called with a reference whenever that document may have changed, reads everything
// anew and enforces everything. again > 0 asks for another call after that time.
type Reconciler struct {
	Name    string
	Owner   string
	Watches []string // kinds whose documents it wants to hear of
	Do      func(ctx context.Context, ref core.Ref) (again time.Duration, err error)
}

// Reconcile declares a reconciler. It is never called twice at once for one reference.
func (c *Catalog) Reconcile(name string, f func(context.Context, core.Ref) (time.Duration, error), watches ...string) {
	c.Reconcilers = append(c.Reconcilers, Reconciler{Name: name, Owner: c.owner, Watches: watches, Do: f})
}

// An Instance is a process about to be started, as grants see it.
type Instance struct {
	ID    string        // UUIDv7
	Doc   core.Document // the Service, or for a job the Service it is of
	Job   string        // name of the Job, or ""
	State core.State    // the state it is started from
}

// A Grant is what one module gives an instance.
type Grant struct {
	Env     map[string]string // environment variables
	Values  map[string]string // what ${uses:..} and ${secret:..} mean, by the text between the braces
	Secret  []string          // values of Env or Values that must be redacted wherever they would be shown
	Release func()            // called once after the instance has ended; may be nil
}

// A Grantor gives instances what their document entitles them to.
type Grantor struct {
	Name string
	Do   func(context.Context, Instance) (Grant, error)
}

// Grant declares f to be asked before each start of an instance. A name that two
// grants give is a conflict, and the instance is not started.
func (c *Catalog) Grant(name string, f func(context.Context, Instance) (Grant, error)) {
	c.Grants = append(c.Grants, Grantor{Name: name, Do: f})
}

// A PlanLine says one thing that a change will touch, as a plan shows it.
type PlanLine struct {
	Ref    core.Ref `json:"ref"`
	Effect string   `json:"effect"` // "restart", "reload", "route", "data", "none"
	Text   string   `json:"text"`   // "cart and web call it; no restart"
}

// An Effector tells what the step from before to after will touch. It is pure.
type Effector struct {
	Name string
	Do   func(before, after core.State) []PlanLine
}

// Effect declares an effector.
func (c *Catalog) Effect(name string, f func(before, after core.State) []PlanLine) {
	c.Effects = append(c.Effects, Effector{Name: name, Do: f})
}

// Part declares what runs.
func (c *Catalog) Part(p life.Part) { c.Parts = append(c.Parts, p) }

// An Endpoint is a door of its own protocol (Prometheus exposition, OTLP, ...), served
// by the admin listener. It is read-only unless it proves the caller by itself.
type Endpoint struct {
	Pattern string // of http.ServeMux, with a method: "GET /metrics"
	Help    string
	Handler http.Handler
}

// Endpoint declares a protocol endpoint.
func (c *Catalog) Endpoint(pattern, help string, h http.Handler) {
	c.Endpoints = append(c.Endpoints, Endpoint{Pattern: pattern, Help: help, Handler: h})
}
