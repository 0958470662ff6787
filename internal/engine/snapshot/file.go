package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"stoa/api/fault"
)

// format is the version of the file. Load refuses a newer one.
const format = 1

// maxFile bounds what Load reads: 100 times what 10,000 routes take.
const maxFile = 512 << 20

// Saved is the last good state of a node: what it needs to serve after a start without
// its control plane.
type Saved struct {
	Format    int         `json:"format"`
	Snapshot  *Snapshot   `json:"snapshot"`
	Endpoints []Endpoints `json:"endpoints,omitempty"` // those that outlive the node: external ones
}

// Save writes s to the file at path, whole or not at all: a temporary file beside it is
// written, synced and renamed, and the directory synced.
func Save(path string, s Saved) (err error) {
	s.Format = format
	fail := func(err error) error {
		return &fault.Error{Op: "snapshot.save", Subject: path, Kind: fault.Unavailable, Err: err,
			Hint: "Check space and permissions of the data folder; traffic goes on from memory."}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return fail(err)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp") // 0600
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(b.Bytes()); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	if err := f.Close(); err != nil {
		return fail(err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fail(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fail(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fail(err)
	}
	return nil
}

// Load reads what Save wrote. NotFound if there is no file; Invalid if it is broken or
// newer than this program.
func Load(path string) (Saved, error) {
	fail := func(k fault.Kind, hint string, err error) (Saved, error) {
		return Saved{}, &fault.Error{Op: "snapshot.load", Subject: path, Kind: k, Err: err, Hint: hint}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fault.NotFound, "", err)
	}
	if err != nil {
		return fail(fault.Unavailable, "", err)
	}
	defer f.Close()
	const aside = "Move the file away; the node gets a new snapshot from the control plane."
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fail(fault.Unavailable, "", err)
	}
	if len(b) > maxFile {
		return fail(fault.Invalid, aside, fmt.Errorf("larger than %d bytes", maxFile))
	}
	var v struct{ Format int }
	if err := json.Unmarshal(b, &v); err != nil {
		return fail(fault.Invalid, aside, err)
	}
	if v.Format > format {
		return fail(fault.Invalid, "Start the newer version of Stoa that wrote it.", fmt.Errorf("format %d, this version reads %d", v.Format, format))
	}
	var s Saved
	if err := json.Unmarshal(b, &s); err != nil {
		return fail(fault.Invalid, aside, err)
	}
	if s.Snapshot == nil {
		return fail(fault.Invalid, aside, errors.New("holds no snapshot"))
	}
	if err := s.Snapshot.Check(); err != nil {
		return fail(fault.Invalid, aside, err)
	}
	return s, nil
}
