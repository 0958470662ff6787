//go:build race

package blueprint_test

// raceEnabled says that times and sizes are those of the race detector.
const raceEnabled = true
