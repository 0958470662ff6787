// Package process starts a program so that it can never outlive Stoa.
//
// Between Stoa and the program stands a shim: the stoa binary run again under the
// name stoa-shim. It holds a pipe to Stoa, and it is the parent of the program and,
// as a child subreaper, of everything that the program leaves behind.
//
//	stoa ──orders──▶ stoa-shim ──▶ program ──▶ its children
//	     ◀─reports──    (session)    (group)       daemons that left the group
//	     ◀──────────── stdout, stderr ──────────────┘
//
// What holds, whoever dies first:
//
//	Stoa dies, even by kill -9   the orders pipe breaks; the shim ends the tree and itself
//	the shim dies                the kernel kills the program (PDEATHSIG); Stoa kills what
//	                             is of the shim's session or bears the instance's mark
//	the program dies or ends     the shim kills what it left, then reports and ends
//	a descendant daemonises      it is adopted by the shim, and dies with the rest
//	Stoa and shim die at once    PDEATHSIG takes the program; the next Stoa's Sweep the rest
//
// An instance is over (Done) only when its tree is empty. The shim knows that for
// certain: a subreaper without children has no descendants.
//
// The main of the binary calls IsShim and RunShim before anything else, for whatever
// is done before is paid by every instance.
//
// Limits. A descendant that has left the session and cleared its environment survives
// if the shim is killed with -9. A set-uid program cannot be signalled by a user who
// is not root; Exit.Stuck names it. Where cgroups are not used, a program that forks
// faster than it can be killed is a matter for the process limit. On macOS there is
// no subreaper, no PDEATHSIG, no Sweep and no Listening: the process group is all that
// is killed, and a killed shim leaves its program to Stoa, which kills the group.
package process
