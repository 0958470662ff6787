package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"stoa/api/fault"
)

// Find gives the absolute path of the program that name means to a process with this
// directory and environment: a path, relative to dir, or a name to be looked for in the
// PATH of env. Relative entries of PATH are passed over.
//
// The error is a fault about the file or name: NotFound where there is none, Invalid
// where it cannot be run.
func Find(name, dir string, env []string) (string, error) {
	if name == "" {
		return "", fault.New(fault.Invalid, "command", "is empty").
			WithHint("Name the program to run, as in command: [node, index.js].")
	}
	if strings.ContainsRune(name, '/') {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return filepath.Abs(path) // checked below by runnable
	}
	path, ok := lookup(env, "PATH")
	if !ok {
		return "", fault.New(fault.NotFound, name, "no such program, for the environment has no PATH").
			WithHint("Give the program as a path, or declare PATH in env.")
	}
	var unfit error
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			continue
		}
		file := filepath.Join(d, name)
		err := runnable(file)
		if err == nil {
			return file, nil
		}
		if !fault.Is(err, fault.NotFound) && unfit == nil {
			unfit = err
		}
	}
	if unfit != nil {
		return "", unfit
	}
	return "", fault.New(fault.NotFound, name, "no such program in PATH=%s", path).
		WithHint("Install %s, or give the program as a path.", name)
}

// runnable says why file cannot be run, as far as can be seen from outside.
func runnable(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.NotFound, file, "no such program").
			WithHint("Build it first, or correct the path in command.")
	case err != nil:
		return &fault.Error{Kind: fault.Denied, Subject: file, Err: err, Hint: "Let this user read the path."}
	case info.IsDir():
		return fault.New(fault.Invalid, file, "is a directory, not a program").
			WithHint("Name the program inside it in command.")
	case info.Mode()&0o111 == 0:
		return fault.New(fault.Invalid, file, "is not executable").
			WithHint("Run chmod +x %s, or name its interpreter first in command.", file)
	}
	return nil
}

// home says why a program cannot be started in dir.
func home(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.NotFound, dir, "no such directory").
			WithHint("Create it, or correct dir.")
	case err != nil:
		return &fault.Error{Kind: fault.Denied, Subject: dir, Err: err, Hint: "Let this user enter the directory."}
	case !info.IsDir():
		return fault.New(fault.Invalid, dir, "is not a directory").
			WithHint("Name the directory to run in.")
	}
	return nil
}

// refused turns what the kernel said to exec into a fault. The checks before have found
// the program, so ENOENT is about its interpreter.
func refused(path string, f *failed) error {
	e := &fault.Error{Op: "process.start", Subject: path, Kind: fault.Invalid, Err: f.Errno}
	switch f.Errno {
	case 0:
		e.Kind, e.Err = fault.Internal, errors.New(f.Text)
	case syscall.ENOENT:
		e.Kind, e.Err = fault.NotFound, errors.New("its interpreter is not there")
		e.Hint = "Correct the first line (#!) of the file, or install the interpreter or the C library that it was built for."
	case syscall.ENOEXEC:
		e.Err = errors.New("is not a program that this machine can run")
		e.Hint = "Build it for this system, or give a script a first line such as #!/bin/sh."
	case syscall.EACCES, syscall.EPERM:
		e.Kind = fault.Denied
		e.Hint = "Let this user execute the file, its interpreter and its directory; see that the file system is not mounted noexec."
	case syscall.E2BIG:
		e.Err = errors.New("arguments and environment are too large")
		e.Hint = "Put large values into files, and give their paths."
	case syscall.ETXTBSY:
		e.Kind, e.Err = fault.Unavailable, errors.New("is being written")
		e.Hint = "Try again when the build has ended."
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE:
		e.Kind = fault.Exhausted
		e.Hint = "Raise the limit of processes, memory or open files (see ulimit -a), or run less."
	}
	return e
}

// lookup gives the last value of name in env, as the C library's getenv would the first:
// the starter removes doubles, so that both agree.
func lookup(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(env[i], "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}
