package command

// What stoa dev does beside the loop: --attach, --load, and the command of --wait.

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/client"
	"stoa/internal/kernel/blueprint"
)

// attach lends the service's environment to the program that the user starts.
func (d *developer) attach(ctx context.Context) error {
	loans, err := client.Follow(ctx, d.c, workload.BorrowOp, workload.BorrowIn{Service: d.in.Attach, Attach: true})
	if err != nil {
		return err
	}
	for loan, err := range loans {
		if err != nil {
			return err
		}
		if loan.Env != nil {
			d.view.say("Start %s yourself with this environment:", d.in.Attach)
			for _, kv := range loan.Env {
				d.view.say("  export %s", quoted(kv))
			}
			continue
		}
		d.view.say("%s, which you start, is %s", d.in.Attach, loan.State)
	}
	return ctx.Err()
}

// quoted gives NAME='value' for a shell.
func quoted(kv string) string {
	name, v, _ := strings.Cut(kv, "=")
	return name + "='" + strings.ReplaceAll(v, "'", `'\''`) + "'"
}

// loadJob is the job that --load runs.
const loadJob = "load"

// hasLoad fails if the blueprint declares no job for --load.
func hasLoad(set *blueprint.Set) error {
	var jobs []string
	for _, d := range set.Docs {
		if d.Kind == core.KindJob {
			jobs = append(jobs, d.Name)
		}
	}
	if slices.Contains(jobs, loadJob) {
		return nil
	}
	text := "--load runs the job named load, and the blueprint declares no job"
	if len(jobs) > 0 {
		text = "--load runs the job named load, and the blueprint declares only " + strings.Join(jobs, ", ")
	}
	return fault.New(fault.NotFound, "job/"+loadJob, "%s", text).
		WithHint("Declare one (kind: Job, name: load, of: SERVICE, with go: or command:); it finds LOAD_RATE, requests a second, and GATEWAY_URL in its environment.")
}

// load runs the job named load once every service is ready, until ctx ends. Why they are
// not is said whenever the reason changes.
func (d *developer) load(ctx context.Context) {
	for said := ""; ; {
		err := readyBy(ctx, d.c, 0, d.by, d.limit())
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			break
		}
		if text := countless(err.Error()); text != said {
			said = text
			d.view.say("load: waits until all is ready; %v", err)
		}
		select {
		case <-time.After(loadRetry):
		case <-ctx.Done():
			return
		}
	}
	url, err := d.p.GatewayURL()
	if err != nil {
		d.view.say("load: %v %s", err, fault.HintOf(err))
		return
	}
	d.view.say("load: %d requests a second through %s", d.in.Load, url)
	run, err := client.Call(ctx, d.c, workload.JobRunOp, workload.JobIn{Job: loadJob, Env: map[string]string{"LOAD_RATE": strconv.Itoa(d.in.Load), "GATEWAY_URL": url}})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.view.say("load: %v. %s", err, fault.HintOf(err))
	default:
		d.view.say("load: the job ended: %s", run.State)
	}
}

// countless is a text without its digits: how often and how long something failed is no
// new reason.
func countless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, text)
}

// loadRetry is how long --load waits before it looks again at services that were not ready.
const loadRetry = time.Second

// unattended says whether nobody is there to correct what keeps the system from starting.
func (d *developer) unattended() bool { return d.in.Wait || d.s.Getenv(detachedVariable) != "" }

// limit is how long --wait and --load wait for services.
func (d *developer) limit() time.Duration { return cmp.Or(d.in.Timeout.D(), defaultWait) }

// allReady waits until everything was built and every service is ready.
func (d *developer) allReady(ctx context.Context, settled <-chan struct{}) error {
	late := time.NewTimer(time.Until(d.by))
	defer late.Stop()
	select {
	case <-settled:
	case <-late.C: // what is not ready is told all the same
	case <-ctx.Done():
		return ctx.Err()
	}
	err := readyBy(ctx, d.c, 0, d.by, d.limit())
	if err == nil || ctx.Err() != nil {
		return err
	}
	if why := d.view.refused(); why != "" {
		err = fmt.Errorf("%w\n  the blueprint is not in force: %s", err, why)
	}
	// With this wait the platform ends: nobody can be asked then.
	return &fault.Error{Kind: fault.KindOf(err), Err: err, Hint: "To look into it while it runs: stoa dev " + d.view.dir + ", then stoa why SERVICE in another terminal"}
}

// command runs what --wait was given, with the addresses in its environment.
func (d *developer) command(ctx context.Context, settled <-chan struct{}) error {
	if err := d.allReady(ctx, settled); err != nil {
		return err
	}
	url, err := d.p.GatewayURL()
	if err != nil {
		return err
	}
	d.view.look(ctx) // that all is ready comes before what follows from it
	d.view.say("running %s", strings.Join(d.in.Command, " "))
	return execute(ctx, d.s, d.in.Command, append(os.Environ(), "STOA_GATEWAY_URL="+url, "STOA_ADMIN_URL="+d.p.AdminURL(), "STOA_DATA="+d.p.Data(), childVariable+"="))
}
