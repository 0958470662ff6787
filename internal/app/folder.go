package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"stoa/api/fault"
	"stoa/internal/engine/pebblestore"
	"stoa/internal/ground/id"
)

// folderFormat is the version of the data folder's layout. An older binary refuses a newer one.
const folderFormat = 1

// restoring is the folder in which stoa restore works, in a data folder that was there
// before, or the end of its name beside one that was not.
const restoring = ".restoring"

// marksTable is the journal's table of small facts.
const marksTable = "marks"

// A folder is the data folder:
//
//	FORMAT         version of this layout
//	node           random id of this node
//	journal/       everything durable (engine/pebblestore, which locks it)
//	journal.acked  how far that was acknowledged
//	artefacts/     what releases are made of, by digest
//	snapshot       the last good one of the data plane
//	stores/        databases of services: <service>/<store>/
//	work/          folders that programs run in
//	build/         what stoa dev has built, so that it need not be built again
//	telemetry/     lines of output; losable
type folder struct {
	root string // absolute
	node string
}

func (f folder) journal() string   { return filepath.Join(f.root, "journal") }
func (f folder) artefacts() string { return filepath.Join(f.root, "artefacts") }
func (f folder) stores() string    { return filepath.Join(f.root, "stores") }
func (f folder) work() string      { return filepath.Join(f.root, "work") }
func (f folder) programs() string  { return filepath.Join(f.work(), ".bin") } // links named as the programs that they lead to
func (f folder) keys() string      { return filepath.Join(f.root, "keys") }
func (f folder) logs() string      { return filepath.Join(f.root, "telemetry", "logs") }

// Holder gives the process whose platform has the data folder root open, also while it
// starts or ends and does not answer; 0 for none.
func Holder(root string) int { return pebblestore.Holder(folder{root: root}.journal()) }

// openFolder makes the data folder, or checks the one that is there.
func openFolder(root string) (folder, error) {
	f := folder{root: root}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return f, fmt.Errorf("data folder: %w", err)
	}
	info, err := os.Stat(root)
	if err != nil {
		return f, fmt.Errorf("data folder: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return f, fault.New(fault.Denied, root, "others may write to the data folder: its mode is %#o", info.Mode().Perm()).WithHint("chmod 0700 %s", root)
	}
	if _, err := os.Lstat(filepath.Join(root, restoring)); err == nil {
		return f, fault.New(fault.Conflict, root, "a stoa restore into it was cut short").WithHint("Empty the folder, and restore again.")
	}
	format, err := keep(filepath.Join(root, "FORMAT"), strconv.Itoa(folderFormat))
	if err != nil {
		return f, err
	}
	if err := knownFormat(root, format); err != nil {
		return f, err
	}
	if f.node, err = keep(filepath.Join(root, "node"), id.New()); err != nil {
		return f, err
	}
	for _, dir := range []string{f.stores(), f.work()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return f, fmt.Errorf("data folder: %w", err)
		}
	}
	return f, nil
}

// knownFormat refuses a folder of a newer Stoa.
func knownFormat(root, format string) error {
	if n, err := strconv.Atoi(format); err != nil || n > folderFormat {
		return fault.New(fault.Invalid, filepath.Join(root, "FORMAT"), "the data folder has format %q; this Stoa knows formats up to %d", format, folderFormat).
			WithHint("Run the Stoa that wrote it, or a newer one.")
	}
	return nil
}

// keep gives the text of a file, which it writes first if there is none: whole, or not at all.
func keep(path, text string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data folder: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text + "\n")
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	return text, nil
}
