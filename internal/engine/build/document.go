package build

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"

	"stoa/api/contracts"
	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
)

// The roles of files that are stored with a release.
const (
	EnvFile = "envFile"
	OpenAPI = "openapi"
	Proto   = "proto"
)

// Needs says whether a document has something to build with a tool.
func Needs(d core.Document) bool {
	switch d.Kind {
	case core.KindService:
		r := workload.RunSection.Of(d)
		return r.Go != "" || len(r.Command) > 0 || r.Static != ""
	case core.KindJob:
		j := workload.JobBody.Of(d)
		return j.Go != "" || len(j.Command) > 0
	}
	return false
}

// DirOf gives the folder of a document on this machine: where its file lies, and its relative paths start.
func DirOf(d core.Document) string {
	return filepath.Join(d.Source, filepath.FromSlash(path.Dir(d.File)))
}

// Document builds what a document needs and gives its digests by role, those of Files included.
func (b *Builder) Document(ctx context.Context, d core.Document) (map[string]string, error) {
	out, err := b.Files(d)
	if err != nil {
		return nil, err
	}
	var built map[string]string
	switch d.Kind {
	case core.KindService:
		built, err = b.Service(ctx, d.Name, DirOf(d), workload.RunSection.Of(d), Ignore(workload.IgnoreSection.Of(d)))
	case core.KindJob:
		built, err = b.Job(ctx, d.Name, DirOf(d), workload.JobBody.Of(d), Ignore(nil))
	}
	if err != nil {
		return nil, err
	}
	maps.Copy(out, built)
	return out, nil
}

// Files stores the files that a document names beside its program: contract and envFile.
func (b *Builder) Files(d core.Document) (map[string]string, error) {
	out := map[string]string{}
	if d.Kind != core.KindService {
		return out, nil
	}
	c := contracts.ContractSection.Of(d)
	for _, f := range []struct{ role, field, name string }{
		{OpenAPI, "contract.openapi", c.OpenAPI}, {Proto, "contract.proto", c.Proto}, {EnvFile, "envFile", workload.EnvFileSection.Of(d)},
	} {
		if f.name == "" {
			continue
		}
		file := filepath.Join(DirOf(d), filepath.FromSlash(f.name))
		b2, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.NotFound, d.Ref().String(), "%s: %s cannot be read: %w", f.field, f.name, err).WithHint("Make the file, or correct %s of %s.", f.field, d.Name)
		}
		if f.role == EnvFile {
			if _, err := ParseEnvFile(file, b2); err != nil {
				return nil, err
			}
		}
		digest, err := b.Out.PutFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", f.field, d.Ref(), err)
		}
		out[f.role] = digest
	}
	return out, nil
}
