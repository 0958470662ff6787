// Package workload is the twin of the module that runs services: what a Service and a
// Job say about being built, started, probed and kept running, and the operations on
// what runs.
package workload

import "stoa/api/core"

// Run says what a service is. Exactly one of go, command, external and static is given.
type Run struct {
	// Go is a Go package, relative to the folder of the file that names it; it is
	// built with go build without cgo, and its binary is what runs.
	Go string `json:"go,omitempty" example:"./cmd/orders"`
	// Command is a program and its first arguments, found on PATH or, with a slash,
	// relative to the folder. It runs in a copy of the folder as it was built.
	Command []string `json:"command,omitempty" example:"[node, server.js]"`
	// Args follow the program given by go or command.
	Args []string `json:"args,omitempty" example:"[-v]"`
	// Build is a command that is run in the folder before the copy is made.
	Build []string `json:"build,omitempty" example:"[npm, ci]"`
	// Dir is the folder of the program, relative to the file that names it.
	Dir string `json:"dir,omitempty" example:"server"`
	// External are the addresses, host:port or an https:// origin, of a service that runs
	// elsewhere: it is probed, balanced and observed, never started.
	External []string `json:"external,omitempty" example:"[127.0.0.1:9000]"`
	// Static is a folder of files, relative to the file that names it, served by the gateway.
	Static string `json:"static,omitempty" example:"dist"`
	// SPA serves index.html of a static folder for every path that is no file.
	SPA bool `json:"spa,omitempty"`
}

// The protocols of a listener.
const (
	HTTP = "http" // HTTP/1.1
	H2C  = "h2c"  // HTTP/2 without TLS: gRPC
	TCP  = "tcp"  // bytes
)

// Listen is one port on which a service is called.
type Listen struct {
	// Env is the variable in which the service finds the port to listen on. Needed, unless port says which it is.
	Env string `json:"env,omitempty" example:"PORT"`
	// Name tells several ports of a service apart; the first needs none.
	Name string `json:"name,omitempty" example:"grpc"`
	// Protocol is what is spoken on the port.
	Protocol string `json:"protocol,omitempty" enum:"http,h2c,tcp" example:"h2c"`
	// Port is a port that cannot be chosen, instead of env. It implies one instance, which is stopped before its successor starts.
	Port int `json:"port,omitempty" example:"9090"`
}

// Health says how it is found out that an instance can be used.
type Health struct {
	// Ready is asked before calls are sent: a path ("/readyz": GET must answer 2xx or 3xx),
	// grpc (grpc.health.v1), tcp (a connection), exec (see there) or none.
	// Undeclared: tcp; without a port: alive for 2 s.
	Ready string `json:"ready,omitempty" example:"/readyz"`
	// Live is asked while it runs, in the same forms; after three failures the instance is replaced. Undeclared: not asked.
	Live string `json:"live,omitempty" example:"/healthz"`
	// Exec is a command that must exit with 0, for ready: exec or live: exec.
	Exec []string `json:"exec,omitempty" example:"[./healthcheck]"`
	// Startup is how long an instance may take to become ready for the first time.
	Startup core.Duration `json:"startup,omitempty" example:"60s"`
	// Interval is the time between two probes once it is ready.
	Interval core.Duration `json:"interval,omitempty" example:"5s"`
	// Timeout is how long one probe may take.
	Timeout core.Duration `json:"timeout,omitempty" example:"1s"`
	// Listener names the port that is probed; undeclared: the first.
	Listener string `json:"listener,omitempty" example:"grpc"`
}

// DefaultHealth is how a service is probed that says nothing. Bounds: control.md, 3.2.
func DefaultHealth() Health {
	return Health{
		Startup:  mustDuration("60s"),
		Interval: mustDuration("5s"),
		Timeout:  mustDuration("1s"),
	}
}

func mustDuration(s string) core.Duration {
	d, err := core.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

// Scale says how many instances run.
type Scale struct {
	// Min is the number of instances that are kept running, 1 to 100.
	Min int `json:"min,omitempty" example:"2"`
}

// Stop says how an instance is ended.
type Stop struct {
	// Grace is how long an instance may take to finish what it has begun, before and
	// after SIGTERM together; then it is killed.
	Grace core.Duration `json:"grace,omitempty" example:"30s"`
}

// The times at which a Job runs.
const (
	BeforeRelease = "before-release" // once before a new release of its service starts; a failure keeps the old release
	Manual        = "manual"         // by stoa job run
)

// Job is a program that runs to completion, with the environment and stores of a service.
type Job struct {
	// Of is the service whose build, environment and stores the job shares.
	Of string `json:"of" required:"true" example:"orders"`
	// Go is a Go package, relative to the folder of the file that names it.
	Go string `json:"go,omitempty" example:"./cmd/migrate"`
	// Command is a program and its arguments, found on PATH or, with a slash, relative to the folder.
	Command []string `json:"command,omitempty" example:"[./migrate]"`
	// Args follow the program.
	Args []string `json:"args,omitempty"`
	// When says what starts it. One before a release runs until it has succeeded once for that release, and
	// again after a restore, which brings no databases: it must do no harm when it has run already.
	When string `json:"when,omitempty" enum:"before-release,manual" example:"before-release"`
	// Timeout is how long one attempt may take.
	Timeout core.Duration `json:"timeout,omitempty" example:"5m"`
	// Retries is how often a failed attempt is repeated, 0 to 10.
	Retries int `json:"retries,omitempty" example:"2"`
}

// The sections of a Service, and the body of a Job.
var (
	RunSection     = core.Section[Run]{Kind: core.KindService, Name: "run", Help: "what it is: a program, files, or something that runs elsewhere"}
	ListenSection  = core.Section[[]Listen]{Kind: core.KindService, Name: "listen", Help: "the ports on which it is called; undeclared: one HTTP port in PORT"}
	EnvSection     = core.Section[map[string]string]{Kind: core.KindService, Name: "env", Help: "environment variables; ${uses:NAME.url} and ${secret:NAME} are replaced"}
	EnvFileSection = core.Section[string]{Kind: core.KindService, Name: "envFile", Help: "a file of NAME=value lines, relative to the file that names it; env wins"}
	HealthSection  = core.Section[Health]{Kind: core.KindService, Name: "health", Help: "how it is found out that it can be used", Default: DefaultHealth}
	ScaleSection   = core.Section[Scale]{Kind: core.KindService, Name: "scale", Help: "how many instances run", Default: func() Scale { return Scale{Min: 1} }}
	StopSection    = core.Section[Stop]{Kind: core.KindService, Name: "stop", Help: "how an instance is ended", Default: func() Stop { return Stop{Grace: mustDuration("30s")} }}
	WatchSection   = core.Section[[]string]{Kind: core.KindService, Name: "watch", Help: "globs of files whose change rebuilds it under stoa dev, relative to its folder; ** crosses folders. Name them where a build writes among its sources: a save there during a build is otherwise taken for the build's own"}
	IgnoreSection  = core.Section[[]string]{Kind: core.KindService, Name: "ignore", Help: "globs of files that are neither watched nor part of its build"}
	JobBody        = core.Section[Job]{Kind: core.KindJob, Help: "a program that runs to completion", Default: func() Job {
		return Job{When: Manual, Timeout: mustDuration("5m")}
	}}
)

// Listeners gives the ports of a service, with every default filled in: names are
// "" for the first that has none, protocols are set.
func Listeners(d core.Document) []Listen {
	run := RunSection.Of(d)
	if run.Static != "" {
		return nil
	}
	ls := ListenSection.Of(d)
	if !d.Has(ListenSection.Name) {
		ls = []Listen{{Env: "PORT"}}
	}
	out := make([]Listen, len(ls))
	for i, l := range ls {
		if l.Protocol == "" {
			l.Protocol = HTTP
		}
		out[i] = l
	}
	return out
}

// Upstream gives the name under which the data plane knows port l of service: the
// service's own name for a port without a name, "orders/grpc" for another.
func Upstream(service string, l Listen) string {
	if l.Name == "" {
		return service
	}
	return service + "/" + l.Name
}
