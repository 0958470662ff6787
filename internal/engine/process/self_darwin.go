package process

import "os"

// self is the file this binary was started from; if it is replaced, so are new shims.
func self() string {
	path, _ := os.Executable() // an empty path fails to start, and says so
	return path
}
