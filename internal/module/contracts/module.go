// Package contracts is the capability that knows what services promise.
//
// First form: a contract is a file beside the service; it must be there, and each
// release is stored with it.
package contracts

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"stoa/api/contracts"
	"stoa/internal/engine/build"
	"stoa/internal/kernel/host"
)

// Module is the capability.
type Module struct{}

var _ host.Module = Module{}

// New returns the module.
func New() Module { return Module{} }

// Name is the module's name.
func (Module) Name() string { return "contracts" }

// Declare states the section.
func (Module) Declare(c *host.Catalog) {
	host.Owns(c, contracts.ContractSection, check)
	host.Beside(c, contracts.ContractSection, beside)
}

// beside sees that the documents are there.
func beside(k *host.Checker, ct contracts.Contract) {
	for _, f := range []struct{ path, file string }{{"openapi", ct.OpenAPI}, {"proto", ct.Proto}} {
		if f.file == "" || !filepath.IsLocal(filepath.FromSlash(f.file)) {
			continue // not there, or told by check
		}
		info, err := os.Stat(filepath.Join(build.DirOf(k.Doc), filepath.FromSlash(f.file)))
		var p *fs.PathError
		switch {
		case errors.As(err, &p):
			k.Bad(f.path, f.file+" cannot be read: "+p.Err.Error(), "make the file, or correct its name")
		case err == nil && !info.Mode().IsRegular():
			k.Bad(f.path, f.file+" is no file", "name the document itself")
		}
	}
}

func check(k *host.Checker, ct contracts.Contract) {
	if ct == (contracts.Contract{}) && k.Doc.Has(contracts.ContractSection.Name) {
		k.Bad("", "names no document", "write {openapi: openapi.yaml} or {proto: service.proto}")
	}
	for _, f := range []struct{ path, file string }{{"openapi", ct.OpenAPI}, {"proto", ct.Proto}} {
		if f.file != "" && (filepath.IsAbs(f.file) || strings.HasPrefix(filepath.Clean(f.file), "..")) {
			k.Bad(f.path, "lies outside the service's folder", "write it relative to the folder of this file, and keep it there")
		}
	}
}
