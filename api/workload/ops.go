package workload

import (
	"stoa/api/core"
	"stoa/api/op"
)

// The states of a service, as people read them.
const (
	StateBuilding = "building" // nothing to run yet
	StateFailed   = "failed"   // its build or its job failed and nothing of it runs
	StateStarting = "starting" // started, not ready
	StateReady    = "ready"    // as many are ready as declared
	StatePartial  = "partial"  // some are ready, fewer than declared
	StateRolling  = "rolling"  // as many are ready as declared, some of the release before
	StateCrashing = "crashing" // it starts and ends again
	StateStopped  = "stopped"  // by stoa stop
	StateExternal = "external" // runs elsewhere; ready
	StateDown     = "down"     // runs elsewhere; does not answer
)

// Instance is one process, or one address of an external service.
type Instance struct {
	ID       string    `json:"id"`
	State    string    `json:"state"` // waiting, starting, ready, unready, draining, backoff
	PID      int       `json:"pid,omitempty"`
	Address  string    `json:"address,omitempty"`  // of its first port
	Release  string    `json:"release,omitempty"`  // first 12 digits of what it was started from
	Restarts int       `json:"restarts"`           // how often one that had been ready ended and was started again
	Failures int       `json:"failures,omitempty"` // starts in a row that made none ready
	Started  core.Time `json:"started"`
	RetryAt  core.Time `json:"retryAt,omitzero"` // when it is started again, in state backoff
}

// Service is what is observed of one service.
type Service struct {
	Name      string     `json:"name"`
	Context   string     `json:"context,omitempty"`
	State     string     `json:"state"`
	Ready     int        `json:"ready"`
	Desired   int        `json:"desired"`
	Updated   int        `json:"updated"`             // ready instances of the release in force
	Revision  uint64     `json:"revision"`            // that its instances, and the ways to it, were last looked at for
	Address   string     `json:"address,omitempty"`   // of the first ready instance
	Restarts  int        `json:"restarts"`            // how often an instance that had been ready ended and was started again
	Rate      float64    `json:"rate"`                // requests per second over the last 10 s
	P99Millis float64    `json:"p99Millis"`           // over the last 10 s; 0 without requests
	ErrorRate float64    `json:"errorRate"`           // share of answers that were errors of the service or the proxy, 0 to 1
	LastError string     `json:"lastError,omitempty"` // what is wrong with it now; "" once it is ready again
	Blocked   string     `json:"blocked,omitempty"`   // why the release in force is not started, and will not be by itself
	Faults    []string   `json:"faults,omitempty"`    // that are injected into calls to it, one sentence each
	Guarded   []string   `json:"guarded,omitempty"`   // what its breaker, bound and outliers do to calls of it now, one sentence each
	Instances []Instance `json:"instances,omitempty"`
}

// Status is the whole system at a glance.
type Status struct {
	System   string `json:"system"`
	Revision uint64 `json:"revision"`
	Gateway  string `json:"gateway,omitempty"` // URL
	// GatewayNote says where the gateway was to be open, and who has that port, if it was opened elsewhere.
	GatewayNote string `json:"gatewayNote,omitempty"`
	// Root is the file of the root to trust, if the gateway's certificates come from the development CA.
	Root string `json:"root,omitempty"`
	// GatewayError says why the gateway is not open where it is declared, who has its port, and what to do.
	GatewayError string `json:"gatewayError,omitempty"`
	Admin        string `json:"admin,omitempty"` // URL
	Mode         string `json:"mode"`            // dev or server
	// Refused says why the blueprint on disk is not in force, under stoa dev.
	Refused string `json:"refused,omitempty"`
	// Awaits says that stoa dev has not applied its first build yet: what is in force is of an earlier time.
	Awaits   bool      `json:"awaits,omitempty"`
	Services []Service `json:"services"`
	// Unprotected are the things that this mode does not protect, one sentence each.
	Unprotected []string `json:"unprotected,omitempty"`
}

// ServiceIn names a service.
type ServiceIn struct {
	Service string `json:"service" arg:"SERVICE" help:"name of the service"`
}

// StatusIn asks for the status.
type StatusIn struct {
	Service string `json:"service,omitempty" arg:"SERVICE,optional" help:"only this service (default: all)"`
}

// Done says what an operation has done, in a sentence.
type Done struct {
	Message string `json:"message"`
}

// JobIn names a job.
type JobIn struct {
	Job string            `json:"job" arg:"JOB" help:"name of the job"`
	Env map[string]string `json:"env,omitempty"` // variables besides those of its service
}

// The states of a run.
const (
	JobRunning    = "running"
	JobSucceeded  = "succeeded"
	JobFailed     = "failed"
	JobStopped    = "stopped"    // ended before it was done, because somebody asked for it, or the job was deleted
	JobSuperseded = "superseded" // ended before it was done, because its release was replaced by another
)

// JobRun is one run of a job.
type JobRun struct {
	Job      string    `json:"job"`
	ID       string    `json:"id"`
	State    string    `json:"state"` // running, succeeded, failed, stopped, superseded
	Began    core.Time `json:"began"`
	Ended    core.Time `json:"ended"`
	ExitCode int       `json:"exitCode"`
	Attempt  int       `json:"attempt"`
	Output   []string  `json:"output,omitempty"` // last lines
}

// Failed says whether it ended badly, or before it was done because somebody stopped it.
func (r JobRun) Failed() bool { return r.State == JobFailed || r.State == JobStopped }

// JobsOut lists runs, newest first.
type JobsOut struct {
	Runs []JobRun `json:"runs"`
}

// BorrowIn asks for the environment of a service, for a program that somebody else starts.
type BorrowIn struct {
	Service string `json:"service"`
	Attach  bool   `json:"attach,omitempty"` // the program takes the place of the service's own instances
}

// Loan is that environment. It holds as long as the stream that gave it is open.
type Loan struct {
	ID    string   `json:"id"`
	Env   []string `json:"env,omitempty"` // NAME=value, sorted; only in the first message
	State string   `json:"state"`         // lent, ready (its port answers), unready
}

// The operations.
var (
	StatusOp  = op.Op[StatusIn, Status]{Name: "status", Help: "show every service, its state, rate and last error", Example: "stoa status"}
	RestartOp = op.Op[ServiceIn, Done]{Name: "restart", Help: "replace the instances of a service one by one", Example: "stoa restart orders", Effect: op.Write}
	StopOp    = op.Op[ServiceIn, Done]{Name: "stop", Help: "stop a service until it is started again, or end the runs of a job (job/NAME)", Example: "stoa stop orders", Effect: op.Write}
	StartOp   = op.Op[ServiceIn, Done]{Name: "start", Help: "start a service that was stopped", Example: "stoa start orders", Effect: op.Write}
	JobRunOp  = op.Op[JobIn, JobRun]{Name: "job.run", Help: "run a job now and wait for its end", Example: "stoa job run migrate", Effect: op.Write}
	JobStopOp = op.Op[JobIn, Done]{Name: "job.stop", Help: "end the runs of a job", Example: "stoa job stop load", Effect: op.Write}
	JobsOp    = op.Op[op.None, JobsOut]{Name: "job.list", Help: "list the last runs of jobs", Example: "stoa job list"}
	BorrowOp  = op.Op[BorrowIn, Loan]{Name: "borrow", Help: "lend a service's environment to a program", Example: "stoa run orders -- env", Effect: op.Write}
)
