//go:build race

package process_test

// raced says that the race detector is in the binary, and so in shims.
const raced = true
