// Package app is the composition root: it makes the modules, connects their ports, and
// runs everything in one order. It decides nothing.
//
//	journal ▸ store ▸ telemetry ▸ node ▸ workload ▸ control ▸ admin API     (start; stop is the reverse)
//
// The order has reasons: documents are read from the journal before anything follows
// them; traffic can be carried before an instance starts, and is carried until the last
// one has drained; the doors open last and close first.
//
// The commands of the command line are in app/command, the loop of stoa dev in app/develop.
package app
