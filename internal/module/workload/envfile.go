package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"stoa/api/fault"
	"stoa/internal/engine/build"
	"stoa/internal/kernel/host"
)

// checkEnvFile sees that an envFile is there, within the folder of the system, and can
// be read, as a build and a start would find it.
func checkEnvFile(k *host.Checker, name string) {
	if name == "" {
		k.Bad("", "names no file", "write a file's name, or delete it")
		return
	}
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) && !filepath.IsLocal(filepath.Join(filepath.Dir(filepath.FromSlash(k.Doc.File)), local)) || filepath.IsAbs(local) {
		k.Bad("", name+" lies outside the folder of the system", "write it relative to the folder of this file, and keep it there")
		return
	}
	path := filepath.Join(build.DirOf(k.Doc), local)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		k.Bad("", fmt.Sprintf("%s cannot be read: %v", name, bare(err)), "make the file, or correct its name")
		return
	case !info.Mode().IsRegular():
		k.Bad("", name+" is no file", "name a file of NAME=value lines")
		return
	case info.Size() > maxEnvFile:
		k.Bad("", fmt.Sprintf("%s is larger than %d bytes", name, maxEnvFile), "keep variables in it, nothing else")
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		k.Bad("", fmt.Sprintf("%s cannot be read: %v", name, bare(err)), "let your user read it")
		return
	}
	if _, err := build.ParseEnvFile(name, b); err != nil {
		k.Bad("", err.Error(), strings.TrimSuffix(fault.HintOf(err), "."))
	}
}

// bare gives an error of a path without the path.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
